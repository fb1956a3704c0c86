import type { BuiltSeq2Seq } from '../engine/build.js';
import { UnsupportedError } from '../errors.js';
import { type GenerationDefaults, readGenerationConfig, withTaskParams } from '../weights/generation_config.js';
import type { Checkpoint } from '../weights/types.js';

/** How the decoder of an encoder-decoder begins and ends. */
export interface DecoderStart {
  /** decoder_start_token_id, then the forced first id (a language) where there is one. */
  readonly ids: Int32Array;
  /** How many of `ids` count as generated. */
  readonly forced: number;
  /** The id that a text of the greatest length ends with. */
  readonly forcedEos: number | undefined;
  /** The checkpoint's other defaults. */
  readonly defaults: GenerationDefaults;
}

/**
 * As Hugging Face's `generate` reads it: generation_config.json, or where that is absent config.json; what config.json says
 * about `task` comes before both.
 */
export function decoderStart(checkpoint: Checkpoint, built: BuiltSeq2Seq, task?: string): DecoderStart {
  const { config, vocabSize } = built;
  const usual = readGenerationConfig(checkpoint, config, vocabSize);
  const defaults = task === undefined ? usual : withTaskParams(usual, checkpoint, config, task, vocabSize);
  const own = (field: string): number | undefined =>
    checkpoint.generationConfig === undefined ? config.tokenIds(field)[0] : undefined;
  const start = defaults.decoderStartTokenId ?? config.tokenIds('decoder_start_token_id')[0] ?? defaults.bosTokenId;
  if (start === undefined)
    throw new UnsupportedError('the checkpoint does not say how its decoder begins', {
      file: checkpoint.configFile,
      name: 'decoder_start_token_id',
    });
  const first = defaults.forcedBosTokenId ?? own('forced_bos_token_id');
  return {
    ids: Int32Array.from(first === undefined ? [start] : [start, first]),
    forced: first === undefined ? 0 : 1,
    forcedEos: defaults.forcedEosTokenIds?.[0] ?? own('forced_eos_token_id'),
    defaults: { ...defaults, forcedBosTokenId: undefined, forcedEosTokenIds: undefined },
  };
}
