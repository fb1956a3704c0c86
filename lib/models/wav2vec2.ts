import type { Tensor } from '../graph/graph.js';
import { dim } from '../graph/shape.js';
import type { AudioBuilder } from '../layers/audio.js';
import type { Rows } from '../layers/builder.js';
import { norm } from '../layers/norm.js';
import { project } from '../layers/project.js';
import type { Weights } from '../layers/weights.js';
import { activation, add, conv1d, groupNorm } from '../ops/index.js';
import type { AudioArchitecture } from './architecture.js';

/** The norms of the feature extractor keep torch's default, whatever layer_norm_eps is. */
const extractorEps = 1e-5;

/**
 * The waveform (samples, 1) → (frames, last conv_dim): convolutions, `group`: each channel of the first one normed over
 * time, `layer`: each row of each one normed.
 */
function extractFeatures(m: AudioBuilder, w: Weights): Rows<string> {
  const c = m.config;
  const widths = c.nums('conv_dim', { min: 1, max: 65_536, length: m.convolutions.length });
  const group = c.oneOf('feat_extract_norm', ['group', 'layer']) === 'group';
  const [fn, bias] = [c.activation('feat_extract_activation', c.str('feat_extract_activation')), c.bool('conv_bias')];
  let x: Tensor<[string, string], 'f32'> = m.samples;
  for (const [i, width] of widths.entries()) {
    const l = w.at(`feature_extractor.conv_layers.${i}`);
    x = m.scoped(`conv_layers.${i}`, () => {
      const channels = dim(`channels_${i}`, width);
      const y = m.convolve(i, l.at('conv'), x, channels, bias); // (rows of level i + 1, width)
      const n = l.at('layer_norm');
      if (!group) return activation(norm(l, 'layer_norm', y, extractorEps), fn);
      if (i > 0) return activation(y, fn);
      const [scale, shift] = [n.vector('weight', channels), n.vector('bias', channels)];
      return activation(groupNorm(y, scale, shift, m.levels[1]!.starts, extractorEps), fn);
    });
  }
  return x as Rows<string>;
}

/** Convolution over neighbouring frames with weight norm, added to x: (rows, hidden) → (rows, hidden). */
function addPositions(m: AudioBuilder, w: Weights, x: Rows<'hidden'>): Rows<'hidden'> {
  const c = m.config;
  const kernel = c.int('num_conv_pos_embeddings', { min: 1, max: 65_536 });
  const groups = c.int('num_conv_pos_embedding_groups', { min: 1, max: 65_536 });
  const hidden = x.dims[1];
  const into = (hidden.size ?? 0) / groups;
  if (!Number.isInteger(into)) c.problem('num_conv_pos_embedding_groups', 'a divisor of hidden_size', groups);
  const conv = w.at('encoder.pos_conv_embed.conv');
  const names = conv.has('parametrizations.weight.original0')
    ? { g: 'parametrizations.weight.original0', v: 'parametrizations.weight.original1' }
    : { g: 'weight_g', v: 'weight_v' };
  return m.scoped('pos_conv_embed', () => {
    const weight = conv.normedConv(names, hidden, into, dim('position_taps', kernel * into));
    // With an even kernel this padding gives one row more than there are: the last one is not made.
    const frames = { from: m.starts, to: m.starts, rows: x.dims[0] };
    const options = { kernel, padding: Math.floor(kernel / 2), groups };
    const y = conv1d(x, weight, conv.vector('bias', hidden), frames, options); // (rows, hidden)
    return add(x, activation(y, c.activation('feat_extract_activation', c.str('feat_extract_activation'))));
  });
}

/** Layers with the norm after (base) or before each block (`do_stable_layer_norm`): (rows, hidden) → (rows, hidden). */
function layers(m: AudioBuilder, w: Weights, start: Rows<'hidden'>): Rows<'hidden'> {
  const c = m.config;
  const stable = c.bool('do_stable_layer_norm');
  const [heads, headDim, eps] = [c.int('num_attention_heads'), c.headDim(), c.num('layer_norm_eps')];
  const [ffn, fn, bias] = [dim('ffn', c.int('intermediate_size')), c.activation(), { bias: true }];
  let x = stable ? start : norm(w, 'layer_norm', start, eps);
  const count = c.int('num_hidden_layers');
  m.hidden(0, x);
  for (let i = 0; i < count; i++) {
    const l = w.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const [attention, forward] = [l.at('attention'), l.at('feed_forward')];
      const attend = (y: Rows<'hidden'>): Rows<'hidden'> => {
        const [q, k, v] = (['q_proj', 'k_proj', 'v_proj'] as const).map((p) =>
          project(attention, p, y, y.dims[1], bias),
        );
        const seen = m.attention(q!, k!, v!, { heads, kvHeads: heads, headDim }); // (rows, heads · head_dim)
        return project(attention, 'out_proj', seen, y.dims[1], bias);
      };
      const feed = (y: Rows<'hidden'>): Rows<'hidden'> => {
        const up = activation(project(forward, 'intermediate_dense', y, ffn, bias), fn); // (rows, ffn)
        return project(forward, 'output_dense', up, y.dims[1], bias);
      };
      if (stable) {
        const attended = add(x, attend(norm(l, 'layer_norm', x, eps)));
        return add(attended, feed(norm(l, 'final_layer_norm', attended, eps)));
      }
      const attended = norm(l, 'layer_norm', add(attend(x), x), eps);
      return norm(l, 'final_layer_norm', add(feed(attended), attended), eps);
    });
    if (stable && i + 1 === count) x = norm(w, 'layer_norm', x, eps);
    m.hidden(i + 1, x);
  }
  return x;
}

/** Wav2Vec 2.0 (Baevski et al. 2020) and HuBERT (Hsu et al. 2021), which differ in names. */
function build(m: AudioBuilder, prefix: string): void {
  const c = m.config;
  c.only('add_adapter', false, 'no adapter after the encoder');
  c.only('conv_pos_batch_norm', false, 'weight norm in the positional convolution');
  if (c.raw('adapter_attn_dim') != null)
    c.problem('adapter_attn_dim', 'null (no adapters of languages)', c.raw('adapter_attn_dim'));
  const w = m.weights.atIfPresent(prefix);
  const features = extractFeatures(m, w); // (rows, last conv_dim)
  const projection = w.at('feature_projection');
  const eps = c.num('layer_norm_eps');
  const normed = c.bool('feat_proj_layer_norm', true) ? norm(projection, 'layer_norm', features, eps) : features;
  const projected = project(projection, 'projection', normed, dim('hidden', c.int('hidden_size')), { bias: true });
  const x = layers(m, w.at('encoder'), addPositions(m, w, projected)); // (rows, hidden)
  if (m.head === 'ctc') {
    const vocab = dim('vocab', c.int('vocab_size'));
    m.output('logits', project(m.weights, 'lm_head', x, vocab, { bias: true }));
    return;
  }
  m.output('last_hidden_state', x);
  if (prefix === 'wav2vec2') m.output('extract_features', normed);
}

// What is for training only, and heads of other classes.
const ignored = [/(^|\.)masked_spec_embed$/, /^quantizer\./, /^project_(hid|q)\./, /^lm_head\./];

export const wav2vec2: AudioArchitecture = {
  kind: 'audio',
  classes: ['Wav2Vec2Model', 'Wav2Vec2ForCTC'],
  modelType: 'wav2vec2',
  build: (m) => build(m, 'wav2vec2'),
  ignored,
};

export const hubert: AudioArchitecture = {
  kind: 'audio',
  classes: ['HubertModel', 'HubertForCTC'],
  modelType: 'hubert',
  build: (m) => build(m, 'hubert'),
  ignored,
};
