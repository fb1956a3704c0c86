import { type Dim, dim } from '../graph/shape.js';
import { type BartKind, bartCrossHeads, decoderStack, type Side, stack, writeAllCross } from '../layers/bart.js';
import type { Rows } from '../layers/builder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import type { Seq2SeqBuilder } from '../layers/seq2seq.js';
import { storedOrMade } from '../layers/sinusoids.js';
import type { Weights } from '../layers/weights.js';
import { activation, add, conv1d } from '../ops/index.js';
import type { Seq2SeqArchitecture } from './architecture.js';

const kind: BartKind = {
  preNorm: true,
  normEmbedding: false,
  plainKeys: true,
  // Of the decoder: learned.
  positions: (m, w, hidden) =>
    w.matrix('embed_positions.weight', dim('positions', m.config.int('max_target_positions')), hidden, { exact: true }),
};

/** Two convolutions over the spectrogram, the second of which halves it, and positions: (frames, bands) → (rows, hidden). */
function frames(m: Seq2SeqBuilder, w: Weights, hidden: Dim<'hidden'>): Rows<'hidden'> {
  const { encoder, config } = m;
  const { x, starts } = encoder.spectrogramInput(config.int('num_mel_bins', { min: 1, max: 4096 }), 2);
  const convolve = (name: string, input: typeof x | Rows<string>, to: typeof starts, rows: Dim, stride: number) =>
    encoder.scoped(name, () => {
      const c = w.at(name);
      const width = input.dims[1].size ?? 1;
      const weight = c.conv('weight', hidden, width, dim(`${name}_taps`, 3 * width));
      const options = { kernel: 3, stride, padding: 1 };
      const y = conv1d(input, weight, c.vector('bias', hidden), { from: starts, to, rows }, options);
      return activation(y, 'gelu'); // whatever activation_function says
    });
  const wide = convolve('conv1', x, starts, x.dims[0], 1); // (frames, hidden)
  const rows = convolve('conv2', wide as Rows<string>, encoder.starts, encoder.positions.dims[0], 2); // (rows, hidden)
  const places = config.int('max_source_positions', { min: 1, max: 1_000_000 });
  const table = storedOrMade(encoder, w, 'embed_positions.weight', hidden, places, (hidden.size ?? 0) / 2 - 1);
  return add(rows as Rows<'hidden'>, encoder.embedPositions(table));
}

/** WhisperForConditionalGeneration (Radford et al. 2022): a spectrogram of 30 s to text. */
function build(m: Seq2SeqBuilder): void {
  const c = m.config;
  const hidden = dim('hidden', c.int('d_model'));
  const e = m.encoderWeights.at('model');
  const d = m.decoderWeights.at('model.decoder');
  const start = frames(m, e.at('encoder'), hidden);
  const seen = stack(m.encoder as Side, e.at('encoder'), start, 'encoder', kind);
  m.encoder.output('last_hidden_state', seen);
  writeAllCross(m, e.at('decoder'), seen, kind);

  const vocab = dim('vocab', c.int('vocab_size'));
  const { table, head } = tokenTables(m.decoder, d, 'embed_tokens.weight', vocab, hidden, 'proj_out.weight');
  const words = add(m.decoder.embedTokens(table), m.decoder.embedPositions(kind.positions(m.decoder, d, hidden)));
  languageHead(m.decoder, decoderStack(m, d, words, kind), head);
}

export const whisper: Seq2SeqArchitecture = {
  kind: 'seq2seq',
  classes: ['WhisperForConditionalGeneration'],
  modelType: 'whisper',
  crossHeads: bartCrossHeads,
  build,
  ignored: [/^proj_out\.weight$/],
};
