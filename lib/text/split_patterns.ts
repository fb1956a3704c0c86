/** Pre-tokenisation patterns by the names under which GGUF files and tokenizer classes know them. */

const gpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const contractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const wordsAndDigits = (digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
export const qwen2Pattern: string = wordsAndDigits('\\p{N}');
const llama3 = wordsAndDigits('\\p{N}{1,3}');
const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const cased = (digits: string, suffix: string): string =>
  `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${suffix}|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${suffix}|${digits}` +
  '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const symbols = '[\\p{P}\\$\\+<=>\\^~\\|]+';

export interface PreSplit {
  /** Applied one after the other; matches and the text between them are pieces. */
  readonly patterns: readonly string[];
  /** A piece that is a token is taken whole. */
  readonly ignoreMerges: boolean;
  /** BOS is added unless the file says otherwise. */
  readonly addBos: boolean;
}

const plain = (...patterns: string[]): PreSplit => ({ patterns, ignoreMerges: false, addBos: false });
const llama3Split: PreSplit = { patterns: [llama3], ignoreMerges: true, addBos: true };
const digitsApart = plain('\\p{N}', gpt2);

/** `tokenizer.ggml.pre` → how the text is split before merging. */
export const ggufPreSplits: ReadonlyMap<string, PreSplit> = new Map([
  ['default', plain(symbols, gpt2, '\\p{N}+', '[0-9][0-9][0-9]')],
  ...['gpt-2', 'phi-2', 'mpt', 'olmo', 'jais', 'roberta-bpe', 'jina-es', 'jina-de', 'jina-v2-es', 'jina-v2-de'].map(
    (name) => [name, plain(gpt2)] as const,
  ),
  ...['llama3', 'llama-v3', 'llama-bpe', 'falcon3'].map((name) => [name, llama3Split] as const),
  ...['dbrx', 'smaug-bpe', 'chatglm-bpe', 'glm4'].map((name) => [name, plain(llama3)] as const),
  ...['qwen2', 'stablelm2', 'deepseek-r1-qwen', 'megrez'].map((name) => [name, plain(qwen2Pattern)] as const),
  ...['starcoder', 'refact', 'command-r', 'smollm', 'codeshell', 'exaone'].map((name) => [name, digitsApart] as const),
  ['falcon', plain('[\\p{P}\\$\\+<=>\\^~\\|`]+', gpt2, '[0-9][0-9][0-9]')],
  ['tekken', { patterns: [cased('\\p{N}', '')], ignoreMerges: true, addBos: true }],
  ['gpt-4o', plain(cased('\\p{N}{1,3}', "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"))],
]);
