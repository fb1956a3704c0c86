import { InputError, OptionError, UnsupportedError } from '../errors.js';
import type { Checkpoint, RawConfig } from '../weights/types.js';
import { PairModel, sigmoid } from './classify.js';
import { checkCall, checkTexts, type EncoderCallOptions } from './encoder_model.js';

export interface RerankOptions extends EncoderCallOptions {
  /** How many documents, best first; default: all. */
  readonly top?: number | undefined;
}

export interface RankedDocument {
  /** Its place among the documents that were given. */
  readonly index: number;
  /** How well it answers the query: 1 / (1 + e^−logit), or the logit itself where the config names Identity. */
  readonly score: number;
  readonly logit: number;
}

/** What makes a score of a logit, as sentence_transformers' CrossEncoder chooses it for one class. */
function scoreOf({ config, configFile }: Checkpoint): (logit: number) => number {
  const own = config.sentence_transformers as RawConfig | undefined;
  const named = own?.activation_fn ?? config.sbert_ce_default_activation_function;
  if (named === undefined || named === null) return sigmoid;
  const kind = String(named).split('.').at(-1);
  if (kind === 'Sigmoid') return sigmoid;
  if (kind === 'Identity') return (logit) => logit;
  throw new UnsupportedError('scores of this kind are not supported', {
    ...{ file: configFile, name: 'activation_fn', expected: 'Sigmoid or Identity', found: named },
  });
}

/** A cross-encoder: reads query and document together and scores the pair (Nogueira and Cho 2019). */
export class RerankModel extends PairModel {
  readonly #score = scoreOf(this.checkpoint);

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
      .map(({ logits }, index) => ({ index, score: this.#score(logits![0]!), logit: logits![0]! }))
      .sort((a, b) => b.logit - a.logit || a.index - b.index)
      .slice(0, top);
  }
}
