/** What `verdant inspect` says of models that continue no text: encoders and models of speech. */
import { audioProgram } from '../engine/audio_host.js';
import type { BuiltAudio, BuiltEncoder, BuiltModel, BuiltSeq2Seq } from '../engine/build.js';
import { encoderProgram } from '../engine/encoder_host.js';
import { DecoderHost } from '../engine/host.js';
import { openDevice } from '../engine/open_device.js';
import { OptionError } from '../errors.js';
import type { DeviceModel, Executable } from '../runtime/executable.js';
import type { LoadOptions } from '../tasks/load.js';
import type { Checkpoint } from '../weights/types.js';

export type BuiltOther = BuiltAudio | BuiltEncoder | BuiltSeq2Seq;

/** A model of this kind with its weights packed. */
export interface OpenedOther {
  readonly built: BuiltOther;
  readonly checkpoint: Checkpoint;
  readonly model: DeviceModel;
  readonly executable: Executable;
  /** Most tokens of a text that a sentence-transformers folder allows. */
  readonly maxLength: number | undefined;
  dispose(): Promise<void>;
}

/** Whether a graph is one of these. */
export function isOther(built: BuiltModel): built is BuiltOther {
  if (built.kind === 'seq2seq') return built.builder.encoder.spectrogram !== undefined;
  return built.kind === 'encoder' || built.kind === 'audio';
}

/** What `load()` is told to get a model that does what the class is made for. */
export function taskOf(built: BuiltOther): string {
  if (built.kind === 'seq2seq') return 'transcribe';
  const { head } = built.builder;
  if (built.kind === 'audio') return head === 'ctc' ? 'transcribe' : 'none: no head for letters';
  if (head === 'sequence') return built.builder.labels.length === 1 ? 'rerank' : 'classify';
  return { base: 'embed', masked_lm: 'fillMask', tokens: 'tokens', answer: 'answer', ctc: 'transcribe' }[head];
}

/** The outputs that the class returns. */
function outputsOf({ builder: { graph } }: BuiltAudio | BuiltEncoder): string[] {
  if (graph.outputs.has('sentence_embedding')) return ['sentence_embedding'];
  const heads = ['logits', 'start_logits', 'end_logits'].filter((name) => graph.outputs.has(name));
  return heads.length > 0 ? heads : ['last_hidden_state'];
}

/** Packs the weights as the task does. Throws as `load()` does. */
export async function openOther(
  checkpoint: Checkpoint,
  built: BuiltOther,
  maxLength: number | undefined,
  options: Omit<LoadOptions, 'task'>,
): Promise<OpenedOther> {
  for (const name of ['kvType', 'maxContext', 'kvMemory'] as const)
    if (options[name] !== undefined)
      throw new OptionError(`${name} has no meaning for ${built.architecture.classes[0]!}`, {
        ...{ name, expected: 'nothing', found: options[name] },
      });
  if (built.kind === 'seq2seq') {
    const host = await DecoderHost.open(built.decoder, options, built);
    return { built, checkpoint, model: host.model, executable: host.step, maxLength, dispose: () => host.dispose() };
  }
  const program =
    built.kind === 'encoder'
      ? encoderProgram(built, outputsOf(built), options.compute)
      : audioProgram(built, outputsOf(built), options.compute);
  const { model, executable } = await openDevice(program, options);
  return { built, checkpoint, model, executable, maxLength, dispose: () => model.dispose() };
}

/** What the model takes in, in words. */
export function takes({ built, maxLength = Infinity }: OpenedOther): string {
  if (built.kind === 'encoder') return `texts of at most ${Math.min(built.maxPositions, maxLength)} tokens`;
  if (built.kind === 'audio') return 'audio of any length';
  return `audio in windows of ${built.maxSource} frames; writes at most ${built.maxPositions} tokens`;
}
