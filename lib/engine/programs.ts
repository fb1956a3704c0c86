import { Graph } from '../graph/graph.js';
import { type LoopNames, lower } from '../graph/lower.js';
import type { Program } from '../graph/program.js';
import { dim, stepDim } from '../graph/shape.js';
import { pageTokens } from '../layers/decoder.js';
import { sample } from '../ops/sample.js';
import type { BuiltDecoder } from './build.js';
import type { ProbeSpec, Probes } from './probes.js';

export const sampleOutputs: readonly string[] = ['ids', 'logprobs', 'top_ids', 'top_logprobs', 'mu'];

const loop: LoopNames = {
  idsOutput: 'ids',
  idsInput: 'input_ids',
  increments: ['positions', 'kv_positions', 'rope_lengths'],
  stopOffsets: 'stop_offsets',
  stopIds: 'stop_ids',
  remaining: 'remaining',
};

/** Takes rows in and samples: the main path. `compute` overrides that of every linear. */
export function stepProgram(built: BuiltDecoder, compute?: string): Program {
  return lower(built.builder.graph, {
    name: 'step',
    outputs: sampleOutputs,
    loop,
    ...(compute === undefined ? {} : { compute }),
  });
}

/** The same rows with other results: logits of given rows, log-probabilities of targets, traces. */
export function outputProgram(
  built: BuiltDecoder,
  name: string,
  outputs: readonly string[],
  compute?: string,
): Program {
  return lower(built.builder.graph, { name, outputs, ...(compute === undefined ? {} : { compute }) });
}

/** The step, or the program that gives `outputs`, with what `spec` shows and changes: another program of the same graph. */
export function probedProgram(
  built: BuiltDecoder,
  probes: Probes,
  outputs: readonly string[] | undefined,
  spec: ProbeSpec,
  compute?: string,
): Program {
  const changes = probes.changes(spec.changed);
  const shown = probes.shown(spec.shown);
  return lower(built.builder.graph, {
    name: 'probed',
    outputs: [...(outputs ?? sampleOutputs), ...shown],
    changes,
    ...(outputs === undefined ? { loop } : {}),
    ...(compute === undefined ? {} : { compute }),
  });
}

/** Only the sampling, from logits that come as an input: for requests whose logits JavaScript has changed. */
export function samplerProgram(built: BuiltDecoder): Program {
  const tokens = built.groups.at(-1)!;
  const graph = new Graph('sampler');
  const [rows, logitRows] = [stepDim('rows'), stepDim('logit_rows')];
  const logits = graph.input('logits', 'f32', [logitRows, dim('vocab', built.vocabSize)] as const);
  const made = sample(logits, {
    rows: graph.input('logit_rows', 'i32', [logitRows] as const),
    kvPositions: graph.input('kv_positions', 'i32', [rows] as const),
    seqIds: graph.input('seq_ids', 'i32', [rows] as const),
    tokens: graph.state('tokens', 'i32', [tokens.blocks, dim('page', pageTokens)]),
    table: graph.input('table_tokens', 'i32', [stepDim('seqs'), stepDim('tokens_columns')] as const),
  });
  for (const [name, value] of Object.entries({
    ids: made.ids,
    logprobs: made.logprobs,
    top_ids: made.topIds,
    top_logprobs: made.topLogprobs,
    mu: made.mu,
  })) {
    graph.output(name, value as never);
  }
  return lower(graph, { outputs: sampleOutputs });
}
