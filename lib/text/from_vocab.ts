/** Tokenizers saved without tokenizer.json: vocab.json + merges.txt (byte-level BPE), vocab.txt (WordPiece). */
import { TokenizerError, UnsupportedError } from '../errors.js';
import type { CoreParts, TokenizerFolder } from './from_folder.js';
import { allAround, bertPost, plainPost, robertaPost } from './post_processor.js';
import type { JsonObject } from './spec.js';
import { qwen2Pattern } from './split_patterns.js';
import { checkMerges, checkVocab } from './validate.js';

type Family = 'gpt2' | 'qwen2' | 'roberta';

const families = new Map<string, Family>([
  ...['gpt2', 'gptneo', 'gptj', 'opt', 'phi'].map((name) => [name, 'gpt2'] as const),
  ...['roberta', 'bart', 'longformer', 'led', 'camembert'].map((name) => [name, 'roberta'] as const),
  ...['qwen2', 'qwen2moe', 'qwen3', 'qwen3moe', 'qwen2vl'].map((name) => [name, 'qwen2'] as const),
]);

/** `Qwen2TokenizerFast`, `gpt_neo` → qwen2, gptneo. */
function familyKey(name: string): string {
  return name
    .replace(/Tokenizer(Fast)?$/, '')
    .replaceAll(/[-_]/g, '')
    .toLowerCase();
}

function familyOf(files: TokenizerFolder, config: JsonObject, vocab: ReadonlyMap<string, number>): Family {
  const named = config.tokenizer_class ?? files.object('config.json').model_type;
  if (typeof named === 'string') {
    const family = families.get(familyKey(named));
    if (family !== undefined) return family;
    throw new UnsupportedError(`how ${named} splits text is not known`, {
      file: files.folder,
      hint: 'Save the tokenizer as tokenizer.json',
    });
  }
  if (vocab.has('<s>') && vocab.has('</s>') && vocab.has('<mask>')) return 'roberta';
  if (vocab.has('<|endoftext|>')) return 'gpt2';
  throw new UnsupportedError('no file says which kind of tokenizer this is', {
    file: files.folder,
    expected: 'tokenizer_class in tokenizer_config.json or model_type in config.json',
  });
}

function readMerges(files: TokenizerFolder): string[] {
  const lines = files.text('merges.txt').split(/\r?\n/);
  const from = lines[0]?.startsWith('#version') === true ? 1 : 0;
  return lines.slice(from).filter((line) => line !== '');
}

const familyDefaults: Record<Family, Record<string, string>> = {
  gpt2: { bos_token: '<|endoftext|>', eos_token: '<|endoftext|>', unk_token: '<|endoftext|>' },
  qwen2: { eos_token: '<|endoftext|>', pad_token: '<|endoftext|>' },
  roberta: {
    bos_token: '<s>',
    eos_token: '</s>',
    sep_token: '</s>',
    cls_token: '<s>',
    unk_token: '<unk>',
    pad_token: '<pad>',
    mask_token: '<mask>',
  },
};

export function bpeParts(
  files: TokenizerFolder,
  config: JsonObject,
  named: Readonly<Record<string, string>>,
): CoreParts {
  const origin = files.path('vocab.json');
  const vocab = checkVocab(files.object('vocab.json'), origin);
  const family = familyOf(files, config, vocab);
  const defaults = familyDefaults[family];
  const names = { ...defaults, ...named };
  const id = (name: string): number => {
    const found = vocab.get(names[name] ?? '');
    if (found === undefined)
      throw new TokenizerError(`the vocabulary lacks the ${name}`, { file: origin, found: names[name] });
    return found;
  };
  const prefix = config.add_prefix_space === true;
  const bytes: JsonObject = { type: 'ByteLevel', add_prefix_space: prefix, use_regex: family !== 'qwen2' };
  const split: JsonObject = { type: 'Split', pattern: { Regex: qwen2Pattern }, behavior: 'Isolated', invert: false };
  const wantsBos = family === 'gpt2' && config.add_bos_token === true;
  return {
    origin,
    vocab,
    added: [],
    normalizer: family === 'qwen2' ? { type: 'NFC' } : null,
    preTokenizer: family === 'qwen2' ? { type: 'Sequence', pretokenizers: [split, bytes] } : bytes,
    model: {
      kind: 'bpe',
      merges: checkMerges(readMerges(files), vocab, '', files.path('merges.txt')),
      byteFallback: false,
      fuseUnk: false,
      unkId: vocab.get(names.unk_token ?? ''),
      ignoreMerges: false,
      endOfWordSuffix: '',
      continuingPrefix: '',
    },
    post:
      family === 'roberta'
        ? robertaPost(id('cls_token'), id('sep_token'), config.trim_offsets === false ? [] : [prefix])
        : wantsBos
          ? allAround([id('bos_token')], [])
          : plainPost,
    decoder: { type: 'ByteLevel' },
    defaults,
  };
}

const bertNames = {
  unk_token: '[UNK]',
  sep_token: '[SEP]',
  pad_token: '[PAD]',
  cls_token: '[CLS]',
  mask_token: '[MASK]',
};

export function bertParts(
  files: TokenizerFolder,
  config: JsonObject,
  named: Readonly<Record<string, string>>,
): CoreParts {
  const origin = files.path('vocab.txt');
  const lines = files.text('vocab.txt').split(/\r?\n/);
  while (lines.at(-1) === '') lines.pop();
  const vocab = new Map<string, number>();
  lines.forEach((token, id) => {
    if (vocab.has(token)) throw new TokenizerError(`line ${id + 1} repeats a token`, { file: origin, found: token });
    vocab.set(token, id);
  });
  const names: Record<string, string> = { ...bertNames, ...named };
  const id = (name: string): number => {
    const found = vocab.get(names[name] ?? '');
    if (found === undefined)
      throw new TokenizerError(`the vocabulary lacks the ${name}`, { file: origin, found: names[name] });
    return found;
  };
  return {
    origin,
    vocab,
    added: [],
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: config.tokenize_chinese_chars !== false,
      lowercase: config.do_lower_case !== false,
      strip_accents: typeof config.strip_accents === 'boolean' ? config.strip_accents : null,
    },
    preTokenizer: { type: 'BertPreTokenizer' },
    model: { kind: 'wordpiece', unkId: id('unk_token'), prefix: '##', maxChars: 100 },
    post: bertPost(id('cls_token'), id('sep_token')),
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    defaults: bertNames,
  };
}
