/** The post-processor of a tokenizer → templates of what is put around one text and around two. */
import { TokenizerError, UnsupportedError } from '../errors.js';
import { isObject, type Json, type JsonObject, type PostSpec, type TemplateItem } from './spec.js';

const text = (sequence: 0 | 1, type: number): TemplateItem => ({ sequence, type });
const put = (ids: readonly number[], type: number): TemplateItem[] => (ids.length === 0 ? [] : [{ ids, type }]);

/** Nothing is added: a pair is one text after the other, in segments 0 and 1. */
export const plainPost: PostSpec = { single: [text(0, 0)], pair: [text(0, 0), text(1, 1)], trims: [] };

/** Ids around each text of its own: a pair is two such texts, in segments 0 and 1. */
export function eachAround(before: readonly number[], after: readonly number[]): PostSpec {
  const whole = (sequence: 0 | 1): TemplateItem[] => [
    ...put(before, sequence),
    text(sequence, sequence),
    ...put(after, sequence),
  ];
  return { single: whole(0), pair: [...whole(0), ...whole(1)], trims: [] };
}

/** Ids before the first text and after the last: a pair is both texts in segments 0 and 1 between them. */
export function allAround(before: readonly number[], after: readonly number[]): PostSpec {
  const [start, end] = [put(before, 0), put(after, 0)];
  return { single: [...start, text(0, 0), ...end], pair: [...start, text(0, 0), text(1, 1), ...end], trims: [] };
}

/** BERT: `cls A sep`, `cls A sep B sep` with segment 1 from B on. */
export function bertPost(cls: number, sep: number): PostSpec {
  const single = [...put([cls], 0), text(0, 0), ...put([sep], 0)];
  return { single, pair: [...single, text(1, 1), ...put([sep], 1)], trims: [] };
}

/** RoBERTa: `cls A sep`, `cls A sep sep B sep`, all in segment 0. */
export function robertaPost(cls: number, sep: number, trims: readonly boolean[]): PostSpec {
  const single = [...put([cls], 0), text(0, 0), ...put([sep], 0)];
  return { single, pair: [...single, ...put([sep], 0), text(1, 0), ...put([sep], 0)], trims };
}

function segment(item: JsonObject, origin: string): number {
  const type = item.type_id;
  if (typeof type === 'number' && Number.isInteger(type) && type >= 0 && type < 2 ** 31) return type;
  throw new TokenizerError('post-processor: type_id must be a whole number from 0 on', {
    file: origin,
    name: 'post_processor',
    found: item,
  });
}

function specialIds(item: JsonObject, table: JsonObject, origin: string): number[] {
  const name = String(item.id);
  const entry = Object.hasOwn(table, name) ? table[name] : undefined;
  const ids = isObject(entry) && Array.isArray(entry.ids) ? entry.ids : undefined;
  if (ids === undefined || !ids.every((id) => typeof id === 'number' && Number.isInteger(id) && id >= 0)) {
    throw new TokenizerError('the post-processor names a special token that it does not define', {
      file: origin,
      name: 'post_processor',
      found: name,
    });
  }
  return ids as number[];
}

function template(config: JsonObject, which: 'single' | 'pair', origin: string): TemplateItem[] {
  const list = config[which];
  const table = isObject(config.special_tokens) ? config.special_tokens : {};
  if (!Array.isArray(list)) {
    throw new TokenizerError(`post-processor: ${which} must be a list`, {
      file: origin,
      name: 'post_processor',
      found: list,
    });
  }
  return list.map((item): TemplateItem => {
    if (isObject(item) && isObject(item.Sequence)) {
      const { id } = item.Sequence;
      if (id === 'A') return text(0, segment(item.Sequence, origin));
      if (id === 'B' && which === 'pair') return text(1, segment(item.Sequence, origin));
      const expected = which === 'single' ? 'A' : 'A or B';
      throw new TokenizerError(`${which} template names another sequence than ${expected}`, {
        file: origin,
        found: id,
      });
    }
    if (isObject(item) && isObject(item.SpecialToken)) {
      const { SpecialToken: special } = item;
      return { ids: specialIds(special, table, origin), type: segment(special, origin) };
    }
    throw new TokenizerError('unknown item in the post-processor template', { file: origin, found: item });
  });
}

function templatePost(config: JsonObject, origin: string): PostSpec {
  const single = template(config, 'single', origin);
  const pair = template(config, 'pair', origin);
  const times = (items: TemplateItem[], which: 0 | 1): number =>
    items.filter((item) => 'sequence' in item && item.sequence === which).length;
  if (times(single, 0) !== 1) {
    throw new TokenizerError('single template must name sequence A once', { file: origin, name: 'post_processor' });
  }
  // Files of models that never see pairs may leave B out: only joining a pair is then refused.
  const whole = times(pair, 0) === 1 && times(pair, 1) === 1;
  if (!whole && (times(pair, 0) > 1 || times(pair, 1) > 1)) {
    throw new TokenizerError('pair template names a sequence twice', { file: origin, name: 'post_processor' });
  }
  return { single, pair: whole ? pair : undefined, trims: [] };
}

function namedId(value: Json | undefined, name: string, origin: string): number {
  const id = Array.isArray(value) ? value[1] : undefined;
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0) return id;
  throw new TokenizerError(`post-processor: ${name} must be [token, id]`, { file: origin, found: value });
}

function flag(config: JsonObject, name: string, origin: string): boolean {
  const value = config[name] ?? true;
  if (typeof value === 'boolean') return value;
  throw new TokenizerError(`post-processor: ${name} must be true or false`, { file: origin, found: value });
}

/** Steps in a row: one of them adds tokens, the others trim offsets. */
function sequencePost(config: JsonObject, origin: string): PostSpec {
  const list = Array.isArray(config.processors) ? config.processors : [];
  const steps = list.map((processor) => postProcessor(processor, origin));
  const adding = steps.filter((step) => step.single !== plainPost.single);
  if (adding.length > 1) {
    throw new UnsupportedError('post-processor: more than one step of the Sequence adds tokens', { file: origin });
  }
  return { ...(adding[0] ?? plainPost), trims: steps.flatMap((step) => step.trims) };
}

/** Post-processor config (none: nothing is added) → templates. */
export function postProcessor(config: Json | undefined, origin: string): PostSpec {
  if (config === null || config === undefined) return plainPost;
  if (!isObject(config)) throw new TokenizerError('post_processor must be an object or null', { file: origin });
  const trims = (): boolean[] =>
    flag(config, 'trim_offsets', origin) ? [flag(config, 'add_prefix_space', origin)] : [];
  switch (config.type) {
    case 'ByteLevel':
      return { ...plainPost, trims: trims() };
    case 'BertProcessing':
      return bertPost(namedId(config.cls, 'cls', origin), namedId(config.sep, 'sep', origin));
    case 'RobertaProcessing':
      return robertaPost(namedId(config.cls, 'cls', origin), namedId(config.sep, 'sep', origin), trims());
    case 'TemplateProcessing':
      return templatePost(config, origin);
    case 'Sequence':
      return sequencePost(config, origin);
    default:
      throw new TokenizerError('post-processor of an unknown kind', { file: origin, found: config.type });
  }
}
