import { InputError, OptionError } from '../errors.js';
import { checkCall, type EncodedText, type EncoderCallOptions, EncoderModel } from './encoder_model.js';
import { largest, softmax } from './largest.js';

/** A text, or two that are judged together (premise and hypothesis). */
export type ClassifyInput = string | { readonly text: string; readonly pair: string };

export interface ClassifyOptions extends EncoderCallOptions {
  /** How many classes, best first; default: all. */
  readonly top?: number | undefined;
  /**
   * What makes scores of logits; default 'sigmoid' where classes do not exclude each other (`problem_type` of the config) or
   * there is only one, else 'softmax'.
   */
  readonly scores?: 'softmax' | 'sigmoid' | 'logits' | undefined;
}

export interface ClassScore {
  /** Its name in the config's id2label. */
  readonly label: string;
  readonly index: number;
  readonly score: number;
}

/** 1 / (1 + e^−x). */
export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** What classifies texts, and what scores pairs. */
export abstract class PairModel extends EncoderModel {
  /** @internal Two texts with the special tokens between them; the longer one is cut first where they are too long. */
  protected async encodePair(
    a: string,
    b: string,
    options: EncoderCallOptions,
    cut: 'longest' | 'second',
  ): Promise<EncodedText> {
    const { segments } = this.host.built.builder;
    let encoded = await this.words.encodePair(a, b);
    const truncated = encoded.ids.length > this.maxLength;
    if (truncated && options.truncate === 'error') throw this.tooLong(encoded.ids.length);
    if (truncated) encoded = await this.words.encodePair(a, b, { maxLength: this.maxLength, truncate: cut });
    return {
      ids: encoded.ids,
      tokenTypes: segments === undefined || segments < 2 ? undefined : encoded.typeIds,
      truncated,
    };
  }
}

/** A classifier of texts or pairs of texts. */
export class ClassifyModel extends PairModel {
  /** Names of the classes, in the order of their numbers. */
  get labels(): readonly string[] {
    return this.host.built.builder.labels;
  }

  /** Classes of one text or pair, best first; of a list, one list for each. Throws InputError, OptionError, AbortError. */
  classify(input: ClassifyInput, options?: ClassifyOptions): Promise<ClassScore[]>;
  classify(input: readonly ClassifyInput[], options?: ClassifyOptions): Promise<ClassScore[][]>;
  async classify(
    input: ClassifyInput | readonly ClassifyInput[],
    options: ClassifyOptions = {},
  ): Promise<ClassScore[] | ClassScore[][]> {
    checkCall(options, ['top', 'scores']);
    const { top, scores } = options;
    if (top !== undefined && (!Number.isInteger(top) || top < 1))
      throw new OptionError('bad top', { name: 'top', expected: 'an integer from 1', found: top });
    if (scores !== undefined && !['softmax', 'sigmoid', 'logits'].includes(scores))
      throw new OptionError('bad scores', { name: 'scores', expected: 'softmax, sigmoid or logits', found: scores });
    const list: readonly ClassifyInput[] = Array.isArray(input) ? input : [input as ClassifyInput];
    if (list.length === 0) throw new InputError('no texts', { name: 'input', expected: 'at least one text' });
    const all = await Promise.all(list.map((one) => this.#one(one, options)));
    return Array.isArray(input) ? all : all[0]!;
  }

  async #one(input: ClassifyInput, options: ClassifyOptions): Promise<ClassScore[]> {
    const encoded = await this.#encode(input, options);
    const { logits } = await this.run(encoded, options);
    const how = options.scores ?? this.#usual();
    const scores =
      how === 'softmax' ? softmax(logits!) : Float64Array.from(logits!, how === 'sigmoid' ? sigmoid : (x) => x);
    const best = largest(Float32Array.from(logits!), Math.min(options.top ?? logits!.length, logits!.length));
    return best.map((index) => ({ label: this.labels[index]!, index, score: scores[index]! }));
  }

  #encode(input: ClassifyInput, options: ClassifyOptions): Promise<EncodedText> {
    if (typeof input === 'string') return this.encodeText(input, options.truncate);
    const { text, pair } = input ?? {};
    if (typeof text !== 'string' || typeof pair !== 'string')
      throw new InputError('neither a text nor a pair', {
        name: 'input',
        expected: 'a text or { text, pair }',
        found: input,
      });
    return this.encodePair(text, pair, options, 'longest');
  }

  #usual(): 'softmax' | 'sigmoid' {
    const several = this.host.built.config.raw('problem_type') === 'multi_label_classification';
    return several || this.labels.length === 1 ? 'sigmoid' : 'softmax';
  }
}
