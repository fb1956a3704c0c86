import type { EncoderSequence } from '../engine/encoder_host.js';
import { encoderLens, type LensGraph } from '../engine/lens.js';
import { InputError, OptionError, UnsupportedError } from '../errors.js';
import { checkCall, type EncoderCallOptions, type EncoderInput, EncoderModel, kShorten } from './encoder_model.js';
import { largest, softmax } from './largest.js';
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

  /** @internal A gap stands where the text spells `maskToken`. One that was cut off could not be filled: nothing is. */
  protected override async readWhole(text: string): Promise<EncoderSequence & { readonly ids: Int32Array }> {
    const mask = this.words.specialTokens.mask_token;
    const parts = mask === undefined ? [text] : text.split(mask);
    const segments = parts.flatMap((part, i) => [
      ...(i === 0 ? [] : [{ text: mask!, special: true }]),
      ...(part === '' ? [] : [{ text: part, special: false }]),
    ]);
    const ids = await this.words.encodeSegments(segments, { addSpecial: true });
    if (ids.length > this.maxLength) throw this.tooLong(ids.length, kShorten);
    return { ids };
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
    if (!text.includes(maskToken))
      throw new InputError('the text has no gap', { name: 'text', expected: `${maskToken} at each gap` });
    const { ids } = await this.readWhole(text);
    const mask = words.tokenToId(maskToken);
    const logitRows = [...ids.keys()].filter((i) => ids[i] === mask);
    const { logits } = await this.run({ ids, logitRows }, options);
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
