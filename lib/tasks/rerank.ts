import { InputError, OptionError } from '../errors.js';
import { PairModel } from './classify.js';
import { checkCall, checkTexts, type EncoderCallOptions } from './encoder_model.js';

export interface RerankOptions extends EncoderCallOptions {
  /** How many documents, best first; default: all. */
  readonly top?: number | undefined;
}

export interface RankedDocument {
  /** Its place among the documents that were given. */
  readonly index: number;
  /** 1 / (1 + e^−logit): how well it answers the query. */
  readonly score: number;
  readonly logit: number;
}

/** A cross-encoder: reads query and document together and scores the pair (Nogueira and Cho 2019). */
export class RerankModel extends PairModel {
  /** Documents by how well they answer the query, best first. Long documents are cut, not the query. */
  async rerank(query: string, documents: readonly string[], options: RerankOptions = {}): Promise<RankedDocument[]> {
    checkCall(options, ['top']);
    if (typeof query !== 'string') throw new InputError('the query must be a text', { name: 'query', found: query });
    const list = checkTexts(documents, 'documents');
    const { top } = options;
    if (top !== undefined && (!Number.isInteger(top) || top < 1))
      throw new OptionError('bad top', { name: 'top', expected: 'an integer from 1', found: top });
    const pairs = await Promise.all(list.map((text) => this.encodePair(query, text, options, 'second')));
    const found = await Promise.all(pairs.map((pair) => this.run(pair, options)));
    return found
      .map(({ logits }, index) => ({ index, score: 1 / (1 + Math.exp(-logits![0]!)), logit: logits![0]! }))
      .sort((a, b) => b.logit - a.logit || a.index - b.index)
      .slice(0, top);
  }
}
