import type { Tensor, Weight } from '../graph/graph.js';
import { type Dim, dim } from '../graph/shape.js';
import { activation, add, scale } from '../ops/elementwise.js';
import type { ModelBuilder, Rows } from './builder.js';
import { languageHead } from './language_head.js';
import { norm } from './norm.js';
import { project } from './project.js';
import type { CrossHeads, Seq2SeqBuilder } from './seq2seq.js';
import type { Weights } from './weights.js';

const eps = 1e-5; // nn.LayerNorm's own
const bias = { bias: true };
const plain = { bias: false };

/** What the kin of BART differ in. */
export interface BartKind {
  /** Norms before attention and feed-forward (mBART, PEGASUS, M2M-100), or after them (BART, Marian). */
  readonly preNorm: boolean;
  /** A norm over the embeddings. */
  readonly normEmbedding: boolean;
  /** Table of positions of one side: (positions, hidden). */
  readonly positions: (m: ModelBuilder, w: Weights, hidden: Dim<'hidden'>) => Weight<[string, 'hidden']>;
  /** Encoder and decoder have vocabularies of their own (Marian). */
  readonly twoVocabularies?: boolean;
  /** The projections of keys have no bias (Whisper). */
  readonly plainKeys?: boolean;
}

/** Attention over a side's own rows. */
export interface Side extends ModelBuilder {
  attention(q: Rows<'hidden'>, k: Rows<'hidden'>, v: Rows<'hidden'>, options: object): Rows<'hidden'>;
}

/** The first of these names that the checkpoint holds, as (vocab, hidden); tied tables are stored under any of them. */
function tableOf(w: Weights, names: readonly string[], vocab: Dim<'vocab'>, hidden: Dim<'hidden'>) {
  const name = names.find((n) => w.has(n)) ?? names[0]!;
  return w.matrix(name, vocab, hidden);
}

/** Words times √hidden where the config says so, plus positions: (rows, hidden). */
function embedded(m: Side, w: Weights, table: Weight<['vocab', 'hidden']>, kind: BartKind): Rows<'hidden'> {
  const hidden = table.dims[1];
  const words = m.embedTokens(table);
  const scaled = m.config.bool('scale_embedding') ? scale(words, Math.sqrt(hidden.size ?? 1)) : words;
  const x = add(scaled, m.embedPositions(kind.positions(m, w, hidden)));
  return kind.normEmbedding ? norm(w, 'layernorm_embedding', x, eps) : x;
}

/** One residual block with its norm before or after: (rows, hidden) → like x. */
function residual(
  w: Weights,
  name: string,
  x: Rows<'hidden'>,
  kind: BartKind,
  body: (h: Rows<'hidden'>) => Rows<'hidden'>,
): Rows<'hidden'> {
  if (kind.preNorm) return add(x, body(norm(w, name, x, eps)));
  return norm(w, name, add(x, body(x)), eps);
}

/** The layers of one side, its hidden states recorded: (rows, hidden) → like `start`; `cross`: attention over the other side. */
export function stack(
  m: Side,
  w: Weights,
  start: Rows<'hidden'>,
  part: 'encoder' | 'decoder',
  kind: BartKind,
  cross?: (layer: Weights, h: Rows<'hidden'>) => Rows<'hidden'>,
): Rows<'hidden'> {
  const c = m.config;
  const [layers, heads] = [c.int(`${part}_layers`), c.int(`${part}_attention_heads`)];
  const hidden = start.dims[1];
  const ffn = dim(`${part}_ffn`, c.int(`${part}_ffn_dim`));
  const fn = c.activation('activation_function');
  const options = { heads, kvHeads: heads, headDim: (hidden.size ?? 0) / heads };
  let x = start;
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('self_attn');
      const attended = residual(l, 'self_attn_layer_norm', x, kind, (h) => {
        const [q, v] = [project(a, 'q_proj', h, hidden, bias), project(a, 'v_proj', h, hidden, bias)];
        const k = project(a, 'k_proj', h, hidden, kind.plainKeys === true ? plain : bias);
        return project(a, 'out_proj', m.attention(q, k, v, options), hidden, bias);
      });
      const seen =
        cross === undefined
          ? attended
          : residual(l, 'encoder_attn_layer_norm', attended, kind, (h) => cross(l.at('encoder_attn'), h));
      return residual(l, 'final_layer_norm', seen, kind, (h) => {
        const up = activation(project(l, 'fc1', h, ffn, bias), fn); // (rows, ffn)
        return project(l, 'fc2', up, hidden, bias);
      });
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = kind.preNorm ? norm(w, 'layer_norm', x, eps) : x;
  m.hidden(layers, last);
  return last;
}

export function bartCrossHeads(c: Seq2SeqBuilder['config']): CrossHeads {
  const heads = c.int('decoder_attention_heads');
  return { kvHeads: heads, headDim: c.int('d_model') / heads };
}

/** Keys and values of every decoder layer of `w` over the encoder's rows. */
export function writeAllCross(m: Seq2SeqBuilder, w: Weights, rows: Rows<'hidden'>, kind: BartKind): void {
  const hidden = rows.dims[1];
  for (let i = 0; i < m.config.int('decoder_layers'); i++) {
    const a = w.at(`layers.${i}.encoder_attn`);
    m.encoder.scoped(`cross.${i}`, () => {
      const k = project(a, 'k_proj', rows, hidden, kind.plainKeys === true ? plain : bias);
      m.writeCross(k, project(a, 'v_proj', rows, hidden, bias));
    });
  }
}

/** The decoder's layers with cross-attention: (rows, hidden) → like `start`. */
export function decoderStack(m: Seq2SeqBuilder, w: Weights, start: Rows<'hidden'>, kind: BartKind): Rows<'hidden'> {
  const heads = m.config.int('decoder_attention_heads');
  return stack(m.decoder as Side, w, start, 'decoder', kind, (a, h) => {
    const y = m.crossAttention(project(a, 'q_proj', h, h.dims[1], bias), { heads });
    return project(a, 'out_proj', y, h.dims[1], bias);
  });
}

/** BART (Lewis et al. 2020) and its kin: encoder, decoder with cross-attention, tied head with final_logits_bias. */
export function buildBart(m: Seq2SeqBuilder, kind: BartKind): void {
  const c = m.config;
  const hidden = dim('hidden', c.int('d_model'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const [e, d] = [m.encoderWeights.atIfPresent('model'), m.decoderWeights.atIfPresent('model')];
  const shared = ['shared.weight', 'encoder.embed_tokens.weight', 'decoder.embed_tokens.weight'];
  const two = kind.twoVocabularies === true && !c.bool('share_encoder_decoder_embeddings');

  const encoder = e.at('encoder');
  const sourceTable = tableOf(e, two ? ['encoder.embed_tokens.weight'] : shared, vocab, hidden);
  const text = stack(
    m.encoder as Side,
    encoder,
    embedded(m.encoder as Side, encoder, sourceTable, kind),
    'encoder',
    kind,
  );
  m.encoder.output('last_hidden_state', text);
  writeAllCross(m, e.at('decoder'), text, kind);

  const decoder = d.at('decoder');
  const words = two ? dim('vocab', c.int('decoder_vocab_size')) : vocab;
  const table = tableOf(d, two ? ['decoder.embed_tokens.weight'] : shared, words, hidden);
  const start = embedded(m.decoder as Side, decoder, table, kind);
  const last = decoderStack(m, decoder, start, kind);
  const own = m.decoderWeights.source.kind !== 'random' && m.decoderWeights.has('lm_head.weight');
  const head = own ? m.decoderWeights.matrix('lm_head.weight', words, hidden) : table;
  const final = m.decoderWeights.has('final_logits_bias')
    ? m.decoderWeights.vector('final_logits_bias', words)
    : undefined;
  languageHead(m.decoder, last as Tensor<['rows', 'hidden'], 'f32'>, head, { bias: final });
}
