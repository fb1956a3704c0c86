/** GGUF metadata keys that describe a tokenizer. */
export const ggufTokenizerKeys: readonly string[] = [
  'general.architecture',
  'tokenizer.chat_template',
  'tokenizer.ggml.model',
  'tokenizer.ggml.pre',
  'tokenizer.ggml.tokens',
  'tokenizer.ggml.scores',
  'tokenizer.ggml.token_type',
  'tokenizer.ggml.merges',
  'tokenizer.ggml.bos_token_id',
  'tokenizer.ggml.eos_token_id',
  'tokenizer.ggml.eot_token_id',
  'tokenizer.ggml.eom_token_id',
  'tokenizer.ggml.unknown_token_id',
  'tokenizer.ggml.padding_token_id',
  'tokenizer.ggml.seperator_token_id',
  'tokenizer.ggml.separator_token_id',
  'tokenizer.ggml.cls_token_id',
  'tokenizer.ggml.mask_token_id',
  'tokenizer.ggml.add_bos_token',
  'tokenizer.ggml.add_eos_token',
  'tokenizer.ggml.add_sep_token',
  'tokenizer.ggml.add_space_prefix',
  'tokenizer.ggml.remove_extra_whitespaces',
];

export function isChatTemplateKey(key: string): boolean {
  return key.startsWith('tokenizer.chat_template.');
}
