/** Tokenizers from the files of a model folder. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ModelNotFoundError, TokenizerError } from '../errors.js';
import { templateSource } from './chat_sources.js';
import { spmParts } from './from_spm.js';
import { bertParts, bpeParts } from './from_vocab.js';
import { singleAround } from './join.js';
import { languagesOf, tokenizerFamily } from './languages.js';
import { modelFromJson } from './model_json.js';
import { eachAround, postProcessor } from './post_processor.js';
import type { ChatTemplateSource } from './protocol.js';
import { readSentencePiece, type SentencePieceModel } from './sentencepiece.js';
import {
  type AddedToken,
  isObject,
  type Json,
  type JsonObject,
  type ModelSpec,
  type PieceIds,
  type PostSpec,
  type TokenizerSpec,
} from './spec.js';
import { addedLimit, addedToken, checkAdded } from './validate.js';

const maxFileBytes = 512 * 1024 * 1024;
const namedTokens = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

/** Files of one tokenizer, read on demand. */
export class TokenizerFolder {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
    if (!existsSync(folder)) throw new ModelNotFoundError('no such folder', { file: folder });
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  has(name: string): boolean {
    return existsSync(this.path(name));
  }

  text(name: string): string {
    const file = this.path(name);
    const { size } = statSync(file);
    if (size > maxFileBytes)
      throw new TokenizerError('file is too large', { file, expected: maxFileBytes, found: size });
    const bytes = readFileSync(file);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (cause) {
      throw new TokenizerError('file is not valid UTF-8', { file, cause });
    }
  }

  /** A SentencePiece model file. */
  sentencePiece(name: string): SentencePieceModel {
    const file = this.path(name);
    if (!existsSync(file)) throw new ModelNotFoundError('the tokenizer lacks a file', { file });
    const { size } = statSync(file);
    if (size > maxFileBytes)
      throw new TokenizerError('file is too large', { file, expected: maxFileBytes, found: size });
    return readSentencePiece(readFileSync(file), file);
  }

  /** A JSON object, {} where the file is absent. */
  object(name: string): JsonObject {
    if (!this.has(name)) return {};
    const file = this.path(name);
    let value: Json;
    try {
      value = JSON.parse(this.text(name)) as Json;
    } catch (error) {
      if (error instanceof TokenizerError) throw error;
      throw new TokenizerError(`file is not valid JSON: ${(error as Error).message}`, { file });
    }
    if (!isObject(value)) throw new TokenizerError('file must hold a JSON object', { file });
    return value;
  }
}

/** What the main file gives; the rest comes from the configs beside it. */
export interface CoreParts {
  readonly origin: string;
  readonly vocab: ReadonlyMap<string, number>;
  readonly added: readonly AddedToken[];
  readonly normalizer: JsonObject | null;
  readonly preTokenizer: JsonObject | null;
  readonly model: ModelSpec;
  readonly post: PostSpec;
  readonly decoder: JsonObject | null;
  /** Special tokens that the class has even where no config names them. */
  readonly defaults: Readonly<Record<string, string>>;
  readonly pieceIds?: PieceIds;
  readonly leadingCode?: boolean;
  /** How texts of the target language are spelled. */
  readonly target?: CoreParts;
}

function content(value: Json | undefined): string | undefined {
  if (typeof value === 'string') return value;
  return isObject(value) && typeof value.content === 'string' ? value.content : undefined;
}

function nullable(value: Json | undefined, name: string, origin: string): JsonObject | null {
  if (value === undefined || value === null) return null;
  if (isObject(value)) return value;
  throw new TokenizerError('must be an object or null', { file: origin, name, found: value });
}

function jsonParts(files: TokenizerFolder): CoreParts {
  const origin = files.path('tokenizer.json');
  const json = files.object('tokenizer.json');
  const { model, vocab } = modelFromJson(json.model, origin);
  const list = json.added_tokens ?? [];
  if (!Array.isArray(list)) throw new TokenizerError('added_tokens must be a list', { file: origin });
  const limit = addedLimit(vocab, list.length);
  const added = list.map((entry) => {
    if (!isObject(entry)) throw new TokenizerError('an added token must be an object', { file: origin, found: entry });
    return addedToken(entry, entry.id, limit, origin);
  });
  checkLengths(json, origin);
  return {
    origin,
    vocab,
    added,
    normalizer: nullable(json.normalizer, 'normalizer', origin),
    preTokenizer: nullable(json.pre_tokenizer, 'pre_tokenizer', origin),
    model,
    post: postProcessor(json.post_processor, origin),
    decoder: nullable(json.decoder, 'decoder', origin),
    defaults: {},
  };
}

/** `truncation` and `padding` are not applied (lengths are the caller's), but nonsense in them is still an error. */
function checkLengths(json: JsonObject, origin: string): void {
  const truncation = nullable(json.truncation, 'truncation', origin);
  if (truncation !== null) {
    const stride = Number(truncation.stride ?? 0);
    const length = Number(truncation.max_length);
    if (!(length > 0) || stride < 0 || stride >= length) {
      throw new TokenizerError('truncation needs 0 ≤ stride < max_length', { file: origin, found: truncation });
    }
  }
  nullable(json.padding, 'padding', origin);
}

function coreParts(files: TokenizerFolder, config: JsonObject, named: Readonly<Record<string, string>>): CoreParts {
  if (files.has('tokenizer.json')) return jsonParts(files);
  if (files.has('vocab.json') && files.has('merges.txt')) return bpeParts(files, config, named);
  if (files.has('vocab.txt')) return bertParts(files, config, named);
  const spm = spmParts(files, config, named);
  if (spm !== undefined) return spm;
  throw new ModelNotFoundError('no tokenizer files', {
    file: files.folder,
    expected: 'tokenizer.json, or vocab.json and merges.txt, or vocab.txt, or SentencePiece files',
  });
}

/** Names of special tokens: tokenizer_config.json wins over special_tokens_map.json. */
function namesOf(config: JsonObject, map: JsonObject): Record<string, string> {
  const names: Record<string, string> = {};
  for (const name of namedTokens) {
    const found = name in config ? content(config[name]) : content(map[name]);
    if (found !== undefined) names[name] = found;
  }
  return names;
}

function additional(config: JsonObject, map: JsonObject): string[] {
  const lists = [map.additional_special_tokens, config.additional_special_tokens, config.extra_special_tokens];
  return lists.flatMap((list) => (Array.isArray(list) ? list.map(content).filter((token) => token !== undefined) : []));
}

/** Added tokens from all files; `added_tokens_decoder` has the last word on flags. */
function allAdded(
  files: TokenizerFolder,
  core: CoreParts,
  config: JsonObject,
  specials: ReadonlySet<string>,
): AddedToken[] {
  const byId = new Map(core.added.map((token) => [token.id, token]));
  checkAdded(core.added, core.vocab, core.origin);
  const listed = Object.entries(files.object('added_tokens.json'));
  const decoder =
    nullable(config.added_tokens_decoder, 'added_tokens_decoder', files.path('tokenizer_config.json')) ?? {};
  const limit = addedLimit(core.vocab, core.added.length + listed.length + Object.keys(decoder).length);
  for (const [text, id] of listed) {
    const token = addedToken(
      { content: text, special: specials.has(text) },
      id,
      limit,
      files.path('added_tokens.json'),
    );
    if (!byId.has(token.id)) byId.set(token.id, token);
  }
  for (const [id, entry] of Object.entries(decoder)) {
    const file = files.path('tokenizer_config.json');
    if (!isObject(entry)) throw new TokenizerError('an added token must be an object', { file, found: entry });
    const token = addedToken(entry, Number(id), limit, file);
    byId.set(token.id, token);
  }
  const known = new Set([...byId.values()].map((token) => token.content));
  for (const text of specials) {
    const id = core.vocab.get(text);
    if (id === undefined || known.has(text)) continue;
    byId.set(id, addedToken({ content: text, special: true }, id, limit, core.origin));
  }
  const added = [...byId.values()].map((token) =>
    specials.has(token.content) && !token.special ? { ...token, special: true } : token,
  );
  checkAdded(added, core.vocab, core.origin);
  return added.sort((a, b) => a.id - b.id);
}

/** Documented order: chat_template.jinja, chat_template.json, tokenizer_config.json; further named ones after. */
function chatTemplates(files: TokenizerFolder, config: JsonObject): ChatTemplateSource[] {
  const found: ChatTemplateSource[] = [];
  const add = (name: string, template: string, origin: string): void => {
    if (!found.some((one) => one.name === name)) found.push(templateSource(name, template, origin));
  };
  if (files.has('chat_template.jinja')) add('default', files.text('chat_template.jinja'), 'chat_template.jinja');
  const folder = 'additional_chat_templates';
  if (files.has(folder)) {
    for (const name of readdirSync(files.path(folder)).sort()) {
      if (name.endsWith('.jinja')) add(name.slice(0, -6), files.text(join(folder, name)), `${folder}/${name}`);
    }
  }
  const sources: [Json | undefined, string][] = [
    [files.object('chat_template.json').chat_template, 'chat_template.json'],
    [config.chat_template, 'tokenizer_config.json'],
  ];
  for (const [value, origin] of sources) {
    if (typeof value === 'string') add('default', value, origin);
    for (const entry of Array.isArray(value) ? value : []) {
      if (isObject(entry) && typeof entry.name === 'string' && typeof entry.template === 'string') {
        add(entry.name, entry.template, origin);
      }
    }
  }
  return found;
}

/** Classes whose BOS and EOS follow add_bos_token and add_eos_token, whatever tokenizer.json says. */
const bosByConfig = /^(Llama|CodeLlama|Gemma|GemmaFast)Tokenizer(Fast)?$/;

function postOf(
  core: CoreParts,
  config: JsonObject,
  ids: { bos: number | undefined; eos: number | undefined },
): PostSpec {
  const byConfig = typeof config.tokenizer_class === 'string' && bosByConfig.test(config.tokenizer_class);
  const { add_bos_token: bos, add_eos_token: eos } = config;
  if (!byConfig || (typeof bos !== 'boolean' && typeof eos !== 'boolean')) return core.post;
  let [before, after] = singleAround(core.post.single);
  if (typeof bos === 'boolean') before = bos && ids.bos !== undefined ? [ids.bos] : [];
  if (typeof eos === 'boolean') after = eos && ids.eos !== undefined ? [ids.eos] : [];
  return eachAround(before, after);
}

/** Reads the tokenizer of a folder. */
export function specFromFolder(folder: string): TokenizerSpec {
  const files = new TokenizerFolder(folder);
  const config = files.object('tokenizer_config.json');
  const map = files.object('special_tokens_map.json');
  const named = namesOf(config, map);
  return specOf(coreParts(files, config, named), files, config, map, named);
}

function specOf(
  core: CoreParts,
  files: TokenizerFolder,
  config: JsonObject,
  map: JsonObject,
  named: Readonly<Record<string, string>>,
): TokenizerSpec {
  const specialTokens = { ...core.defaults, ...named };
  const specials = new Set([...Object.values(specialTokens), ...additional(config, map)]);
  const added = allAdded(files, core, config, specials);
  const ids = new Map<string, number>(core.vocab);
  for (const token of added) ids.set(token.content, token.id);
  const idOf = (name: string): number | undefined => {
    const token = specialTokens[name];
    return token === undefined ? undefined : ids.get(token);
  };
  const [bosId, eosId] = [idOf('bos_token'), idOf('eos_token')];
  const post = postOf(core, config, { bos: bosId, eos: eosId });
  const known = new Set(ids.values());
  const used = [...post.single, ...(post.pair ?? [])].flatMap((item) => ('ids' in item ? item.ids : []));
  const missing = used.find((id) => !known.has(id));
  if (missing !== undefined) {
    throw new TokenizerError('the post-processor names an id that no token has', { file: core.origin, found: missing });
  }
  return {
    origin: core.origin,
    vocab: core.vocab,
    added,
    normalizer: core.normalizer,
    preTokenizer: core.preTokenizer,
    model: core.model,
    post,
    decoder: core.decoder,
    cleanUp: config.clean_up_tokenization_spaces === true,
    bosId,
    eosIds: eosId === undefined ? [] : [eosId],
    padId: idOf('pad_token'),
    specialTokens,
    chatTemplates: chatTemplates(files, config),
    pieceIds: core.pieceIds,
    leadingCode: core.leadingCode,
    languages: languagesOf(tokenizerFamily(config, files.object('config.json')), config, added, core.vocab),
    target: core.target === undefined ? undefined : specOf(core.target, files, config, map, named),
  };
}
