import type { Tensor } from '../graph/graph.js';
import { dim } from '../graph/shape.js';
import { floats } from '../graph/weight_expr.js';
import { concat } from '../ops/concat.js';
import { type Activation, activation } from '../ops/elementwise.js';
import { linear } from '../ops/linear.js';
import { rmsNorm } from '../ops/rms_norm.js';
import type { Rows } from './builder.js';
import type { EncoderBuilder, Sequences } from './encoder.js';
import { type WeightSource, Weights } from './weights.js';

/**
 * How the rows of a text become one vector; several are put one after another (sentence_transformers: Pooling). `sqrt`: the
 * sum over √rows; `weighted`: the mean in which row i, from 1, counts i times.
 */
export type Pooling = 'cls' | 'max' | 'mean' | 'sqrt' | 'weighted' | 'last';

/** A linear layer after pooling, with weights of its own. */
export interface SentenceDense {
  /** Name of its weights in the graph. */
  readonly name: string;
  readonly out: number;
  readonly bias: boolean;
  /** Undefined: none. */
  readonly fn: Activation | undefined;
  readonly source: WeightSource;
}

/** What a sentence-transformers folder adds to a base model. */
export interface SentencePlan {
  readonly pooling: readonly Pooling[];
  /** In order; 'normalize': to length 1. */
  readonly steps: readonly (SentenceDense | 'normalize')[];
}

function pooled<C extends string>(m: EncoderBuilder, x: Rows<C>, how: Pooling): Sequences<C> {
  if (how === 'cls') return m.first(x);
  return how === 'last' ? m.last(x) : m.pool(x, how);
}

/** x / max(|x|, tiny) by rows: (seqs, cols). A norm over whole rows with the weight 1 / √cols. */
function unitLength<C extends string>(m: EncoderBuilder, x: Sequences<C>): Sequences<C> {
  const cols = x.dims[1];
  const size = cols.size!;
  const weight = m.graph.weight<[C]>(
    `normalize.${size}.weight`,
    floats(new Float32Array(size).fill(1 / Math.sqrt(size))),
    [cols],
  );
  return rmsNorm(x, weight, { eps: 1e-24 / size });
}

/** The tensors of `source` as if they lay under `name`: weights of a graph have names of their own. */
function below(name: string, source: WeightSource): WeightSource {
  return { ...source, find: (full) => source.find(full.slice(name.length + 1)) };
}

/** Declares sentence_embedding (seqs, cols) on top of last_hidden_state. */
export function sentenceEmbedding(m: EncoderBuilder, plan: SentencePlan): void {
  const x = m.graph.outputs.get('last_hidden_state') as unknown as Rows<'hidden'>;
  const parts = plan.pooling.map((how) => pooled(m, x, how));
  let y: Sequences<string> = parts.length === 1 ? parts[0]! : concat(parts, 'pooled');
  for (const layer of plan.steps) {
    if (layer === 'normalize') {
      y = unitLength(m, y);
      continue;
    }
    const w = new Weights(m.graph, below(layer.name, layer.source)).at(layer.name);
    const out = dim(`${layer.name}_out`, layer.out);
    const weight = w.matrix('linear.weight', out, y.dims[1]);
    const bias = layer.bias ? w.vector('linear.bias', out) : undefined;
    const made = m.scoped(layer.name, () => linear(y, weight, bias)) as Sequences<string>;
    y = layer.fn === undefined ? made : activation(made, layer.fn);
    w.checkUsed([]);
  }
  m.output('sentence_embedding', y as Tensor<[string, string], 'f32'>);
}
