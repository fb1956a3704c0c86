import { encoderLens, type LensGraph } from '../engine/lens.js';
import { InputError, OptionError, UnsupportedError } from '../errors.js';
import { checkCall, type EncoderCallOptions, type EncoderInput, EncoderModel } from './encoder_model.js';
import { type Lens, type LensOptions, lensOfSequence } from './lens.js';

export interface FillMaskOptions extends EncoderCallOptions {
  /** How many candidates for each mask; default 5. */
  readonly top?: number | undefined;
}

export interface MaskCandidate {
  readonly id: number;
  /** As the vocabulary spells it. */
  readonly token: string;
  /** As text. */
  readonly text: string;
  /** Probability. */
  readonly score: number;
}

/** Places of the k largest values, largest first, the lower place first among equals. */
export function largest(values: Float32Array, k: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === k && !(values[i]! > values[best[k - 1]!]!)) continue;
    let at = best.length;
    while (at > 0 && values[i]! > values[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
  }
  return best;
}

/** exp(x − max) over its sum, in double. */
export function softmax(x: Float32Array): Float64Array {
  const top = x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const e = Float64Array.from(x, (v) => Math.exp(v - top));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}

/** A masked language model: words for the gaps of a text (Devlin et al. 2019). */
export class FillMaskModel extends EncoderModel {
  #lens: LensGraph | undefined;

  /** The token that stands for a gap: [MASK], <mask>. */
  get maskToken(): string {
    const token = this.words.specialTokens.mask_token;
    if (token !== undefined) return token;
    throw new UnsupportedError('the tokenizer has no mask token', { file: this.checkpoint.path });
  }

  /**
   * The logit lens: what stands at each place of a text in the model's view, by its head over the hidden states of each
   * layer. Natively, by another program of the same graph.
   */
  async lens(input: string | EncoderInput, options: LensOptions = {}): Promise<Lens> {
    const sequence = await this.sequenceOf(input);
    this.#lens ??= encoderLens(this.host.built.builder);
    return lensOfSequence(this.host, this.#lens, sequence, options, this.tokenizer);
  }

  /**
   * The likeliest tokens for each mask of a text that spells `maskToken` at its gaps, in the order of the masks. Throws
   * InputError (no mask), OptionError, ContextOverflowError, AbortError.
   */
  async fillMask(text: string, options: FillMaskOptions = {}): Promise<MaskCandidate[][]> {
    checkCall(options, ['top']);
    const top = options.top ?? 5;
    if (!Number.isInteger(top) || top < 1 || top > this.host.built.vocabSize)
      throw new OptionError('bad top', {
        name: 'top',
        expected: `an integer from 1 to ${this.host.built.vocabSize}`,
        found: top,
      });
    if (typeof text !== 'string') throw new InputError('the text must be a string', { name: 'text', found: text });
    const { maskToken, words } = this;
    const parts = text.split(maskToken);
    if (parts.length === 1)
      throw new InputError('the text has no gap', { name: 'text', expected: `${maskToken} at each gap` });
    const segments = parts.flatMap((part, i) => [
      ...(i === 0 ? [] : [{ text: maskToken, special: true }]),
      ...(part === '' ? [] : [{ text: part, special: false }]),
    ]);
    const ids = await words.encodeSegments(segments, { addSpecial: true });
    // A gap that was cut off could not be filled, so a long text is refused whatever `truncate` says.
    if (ids.length > this.maxLength) throw this.tooLong(ids.length);
    const mask = words.tokenToId(maskToken);
    const logitRows = [...ids.keys()].filter((i) => ids[i] === mask);
    const { logits } = await this.run({ ids, logitRows }, options.signal);
    const vocab = logits!.length / logitRows.length;
    return logitRows.map((_, i) => {
      const row = logits!.subarray(i * vocab, (i + 1) * vocab);
      const scores = softmax(row);
      return largest(row, top).map((id) => ({
        id,
        token: words.idToToken(id) ?? '',
        text: words.idToToken(id) === undefined ? '' : words.decode([id]).trim(),
        score: scores[id]!,
      }));
    });
  }
}
