import { dim } from '../graph/shape.js';
import type { ModelBuilder, Rows } from '../layers/builder.js';
import { languageHead } from '../layers/language_head.js';
import { project } from '../layers/project.js';
import { relativeBias } from '../layers/relative.js';
import type { Seq2SeqBuilder } from '../layers/seq2seq.js';
import type { Weights } from '../layers/weights.js';
import { activation, add, gated, rmsNorm, scale } from '../ops/index.js';
import type { ActivationName, ConfigReader } from '../weights/config.js';
import type { Architecture } from './architecture.js';

interface T5Sizes {
  readonly heads: number;
  readonly headDim: number;
  readonly eps: number;
  readonly ffn: number;
  readonly gated: boolean;
  readonly fn: ActivationName;
}

/** 'relu', 'gated-gelu' (which means gelu_new), 'gated-silu' … */
function feedForward(c: ConfigReader): Pick<T5Sizes, 'gated' | 'fn'> {
  const name = c.str('feed_forward_proj');
  const isGated = name.startsWith('gated-');
  const fn = isGated ? name.slice('gated-'.length) : name;
  return { gated: isGated, fn: c.activation('feed_forward_proj', name === 'gated-gelu' ? 'gelu_new' : fn) };
}

function sizesOf(c: ConfigReader): T5Sizes {
  const [heads, headDim] = [c.int('num_heads'), c.int('d_kv')];
  return { heads, headDim, eps: c.num('layer_norm_epsilon'), ffn: c.int('d_ff'), ...feedForward(c) };
}

/** norm(x), by w's layer_norm. */
function normed<H extends string>(w: Weights, x: Rows<H>, eps: number, name = 'layer_norm'): Rows<H> {
  return rmsNorm(x, w.vector(`${name}.weight`, x.dims[1]), { eps });
}

/** wo(fn(wi x)), or wo(fn(wi_0 x) · wi_1 x): (rows, hidden) → (rows, hidden). */
function dense<H extends string>(w: Weights, x: Rows<H>, s: T5Sizes): Rows<H> {
  const ffn = dim('ffn', s.ffn);
  const up = s.gated
    ? gated(project(w, 'wi_0', x, ffn), project(w, 'wi_1', x, ffn), s.fn)
    : activation(project(w, 'wi', x, ffn), s.fn); // (rows, ffn)
  return project(w, 'wo', up, x.dims[1]);
}

function bias(w: Weights, c: ConfigReader, heads: number, bidirectional: boolean) {
  // Half of the buckets of a side hold one distance each; the logarithm for the others needs a farther one.
  const buckets = c.int('relative_attention_num_buckets', { min: 4, max: 65_536 });
  return relativeBias(w.at('block.0.layer.0.SelfAttention'), 'relative_attention_bias', dim(`heads${heads}`, heads), {
    buckets,
    maxDistance: c.int('relative_attention_max_distance', { min: (buckets >> 1) + 1, max: 65_536 }),
    bidirectional,
  });
}

interface Attends extends ModelBuilder {
  attention(q: Rows<'q'>, k: Rows<'q'>, v: Rows<'q'>, options: object): Rows<'q'>;
}

/** Pre-norm blocks without biases, no scaling of scores; `layer(i, x)`: what stands between attention and feed-forward. */
function stack(
  m: Attends,
  w: Weights,
  start: Rows<'hidden'>,
  layers: number,
  s: T5Sizes,
  bidirectional: boolean,
  between: (i: number, x: Rows<'hidden'>) => Rows<'hidden'>,
): Rows<'hidden'> {
  const relative = bias(w, m.config, s.heads, bidirectional);
  const inner = dim('q', s.heads * s.headDim);
  const options = { heads: s.heads, kvHeads: s.heads, headDim: s.headDim, scale: 1, relative };
  let x = start;
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`block.${i}.layer`);
    x = m.scoped(`block.${i}`, () => {
      const a = l.at('0.SelfAttention');
      const h = normed(l.at('0'), x, s.eps);
      const [q, k, v] = (['q', 'k', 'v'] as const).map((part) => project(a, part, h, inner)); // (rows, heads · d_kv)
      const attended = add(x, project(a, 'o', m.attention(q!, k!, v!, options), x.dims[1]));
      const seen = between(i, attended);
      const f = l.at(seen === attended ? '1' : '2');
      return add(seen, dense(f.at('DenseReluDense'), normed(f, seen, s.eps), s));
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = normed(w, x, s.eps, 'final_layer_norm');
  m.hidden(layers, last);
  return last;
}

/** T5ForConditionalGeneration and mT5: relative positions, RMS norms, no biases (Raffel et al. 2020). */
function build(m: Seq2SeqBuilder): void {
  const c = m.config;
  const s = sizesOf(c);
  const hidden = dim('hidden', c.int('d_model'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const inner = dim('q', s.heads * s.headDim);
  const decoderLayers = c.int('num_decoder_layers');
  const [e, d] = [m.encoderWeights, m.decoderWeights];

  const words = m.encoder.embedTokens(e.matrix('shared.weight', vocab, hidden)); // (rows, hidden)
  const text = stack(m.encoder, e.at('encoder'), words, c.int('num_layers'), s, true, (_, x) => x);
  m.encoder.output('last_hidden_state', text);
  for (let i = 0; i < decoderLayers; i++) {
    const a = e.at(`decoder.block.${i}.layer.1.EncDecAttention`);
    m.encoder.scoped(`cross.${i}`, () => m.writeCross(project(a, 'k', text, inner), project(a, 'v', text, inner)));
  }

  const table = d.matrix('shared.weight', vocab, hidden);
  const start = m.decoder.embedTokens(table);
  const last = stack(m.decoder as Attends, d.at('decoder'), start, decoderLayers, s, false, (i, x) => {
    const l = d.at(`decoder.block.${i}.layer.1`);
    const q = project(l.at('EncDecAttention'), 'q', normed(l, x, s.eps), inner); // (rows, heads · d_kv)
    const y = m.crossAttention(q, { heads: s.heads, scale: 1 });
    return add(x, project(l.at('EncDecAttention'), 'o', y, hidden));
  });
  // T5's head is scaled where scale_decoder_outputs, in older files tie_word_embeddings, says so, mT5's never; a file that
  // holds a head uses it.
  const given = c.raw('scale_decoder_outputs') === undefined ? 'tie_word_embeddings' : 'scale_decoder_outputs';
  const scaled = c.modelType === 't5' && c.bool(given);
  const own = d.has('lm_head.weight') && (d.source.kind !== 'random' || !scaled);
  const head = own ? d.matrix('lm_head.weight', vocab, hidden) : table;
  languageHead(m.decoder, scaled ? scale(last, c.int('d_model') ** -0.5) : last, head);
}

const ignored = [/^(encoder|decoder)\.embed_tokens\.weight$/, /EncDecAttention\.relative_attention_bias/];

export const t5: Architecture = {
  kind: 'seq2seq',
  classes: ['T5ForConditionalGeneration'],
  modelType: 't5',
  crossHeads: (c) => ({ kvHeads: c.int('num_heads'), headDim: c.int('d_kv') }),
  build,
  ignored,
};

/** mT5 is T5 v1.1 over 101 languages (Xue et al. 2021). */
export const mt5: Architecture = { ...t5, classes: ['MT5ForConditionalGeneration'], modelType: 'mt5' };

/** The encoder alone, as sentence-T5 has it. */
export const t5Encoder: Architecture = {
  kind: 'encoder',
  classes: ['T5EncoderModel', 'MT5EncoderModel'],
  modelType: 't5',
  build: (m) => {
    const [c, w] = [m.config, m.weights];
    const table = w.matrix('shared.weight', dim('vocab', c.int('vocab_size')), dim('hidden', c.int('d_model')));
    const layers = c.int('num_layers');
    m.output(
      'last_hidden_state',
      stack(m, w.at('encoder'), m.embedTokens(table), layers, sizesOf(c), true, (_, x) => x),
    );
  },
  ignored,
};
