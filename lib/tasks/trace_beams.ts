import { addTexts, type SourceIds, type SourceText } from '../engine/encode_texts.js';
import type { DecoderHost } from '../engine/host.js';
import { type BlockCopy, type BlockTable, blocksFor } from '../engine/kv_blocks.js';
import { packStep } from '../engine/step_inputs.js';
import { AbortError, ContextOverflowError, UnsupportedError } from '../errors.js';
import { type Beam, type BeamOptions, BeamSearch } from '../generation/beam_search.js';
import { type LogRules, logSoftmax, processLogProbs } from '../generation/log_processors.js';
import type { GenerationDefaults } from '../weights/generation_config.js';

export interface BeamRequest {
  readonly prompt: readonly number[];
  readonly source: SourceIds | undefined;
  readonly search: BeamOptions;
  readonly rules: LogRules;
  readonly signal: AbortSignal | undefined;
}

/** What a checkpoint's generation defaults mean for a search of `beams` beams and `maxNewTokens` ids. */
export function beamRequest(
  prompt: readonly number[],
  source: SourceIds | undefined,
  d: GenerationDefaults,
  forced: { readonly bos: number | undefined; readonly eos: number | undefined },
  limits: { readonly beams: number; readonly maxNewTokens: number; readonly signal: AbortSignal | undefined },
): BeamRequest {
  if ((d.beginSuppressTokens?.length ?? 0) > 0)
    throw new UnsupportedError('generation_config.json asks for begin_suppress_tokens', {
      name: 'begin_suppress_tokens',
    });
  const promptLength = prompt.length;
  const maxLength = promptLength + limits.maxNewTokens;
  const { eosTokenIds: eosIds } = d;
  return {
    ...{ prompt, source, signal: limits.signal },
    search: {
      ...{ beams: limits.beams, promptLength, maxLength, eosIds },
      lengthPenalty: d.lengthPenalty ?? 1,
      earlyStopping: d.earlyStopping ?? false,
    },
    rules: {
      repetitionPenalty: d.repetitionPenalty ?? 1,
      noRepeatNgram: d.noRepeatNgramSize ?? 0,
      badWords: (d.badWordsIds ?? []).filter((word) => word.length > 1 || !eosIds.includes(word[0]!)),
      eosIds,
      minLength: Math.max(d.minLength ?? 0, promptLength + (d.minNewTokens ?? 0)),
      forcedBos: forced.bos,
      forcedEos: forced.eos,
      ...{ promptLength, maxLength, suppress: d.suppressTokens ?? [] },
      renormalize: d.other.renormalize_logits === true,
    },
  };
}

/** Finished beams of one prompt, best first. Beams share KV blocks, which are copied when one of them writes. */
export async function searchBeams(host: DecoderHost, request: BeamRequest): Promise<readonly Beam[]> {
  const { prompt, search, rules, signal } = request;
  const executable = await host.program(['logits']);
  const groups = host.built.groups.map((g) => g.name);
  const vocab = host.built.vocabSize;
  const text = request.source === undefined ? undefined : await openText(host, request.source);
  const beams = new BeamSearch(prompt, search);
  let tables: BlockTable[] = [await host.engine.pool.lease(search.maxLength, signal)];
  let cached = 0;
  try {
    while (beams.running.length > 0) {
      if (signal?.aborted === true) throw new AbortError(undefined, { cause: signal.reason });
      const running = beams.running;
      const copies: BlockCopy[] = tables.flatMap((table) => table.write(cached, running[0]!.ids.length));
      const rows = running.map((beam, i) => ({
        ids: beam.ids.slice(cached),
        from: cached,
        ropeLength: beam.ids.length,
        blocks: tables[i]!.blocks,
        logits: [beam.ids.length - cached - 1],
      }));
      const step = packStep(rows, copies, groups, blocksFor(running[0]!.ids.length));
      const shares = rows.map((r) => ({ sequence: { text }, rows: r.ids.length }));
      if (text !== undefined) addTexts(step, shares, 1);
      const { outputs } = await executable.run(step.dims, step.inputs);
      const logits = outputs.logits as Float32Array;
      cached = running[0]!.ids.length;
      const parents = beams.step(
        running.map((beam, i) =>
          processLogProbs(logSoftmax(logits.subarray(i * vocab, (i + 1) * vocab)), beam.ids, rules),
        ),
      );
      const forks = parents.map((parent) => tables[parent]!.fork(search.maxLength, cached));
      for (const table of tables) table.close();
      tables = forks.filter((table) => table !== undefined);
      if (tables.length < forks.length) throw noRoom('the beams', search.beams, host);
    }
    return beams.finished;
  } finally {
    for (const table of tables) host.engine.pool.release(table);
    if (text !== undefined) host.reader!.close(text);
  }
}

function noRoom(what: string, found: number, host: DecoderHost): ContextOverflowError {
  const expected = `at most ${host.engine.blocks.capacity} KV blocks in all`;
  return new ContextOverflowError(`${what} and what they share need more KV blocks than there are`, {
    ...{ name: what === 'the beams' ? 'numBeams' : 'input_ids', expected, found },
  });
}

async function openText(host: DecoderHost, source: SourceIds): Promise<SourceText> {
  const text = host.reader!.open(source);
  if (text === undefined) throw noRoom('the text', source.ids.length, host);
  await host.reader!.encode([text]);
  return text;
}
