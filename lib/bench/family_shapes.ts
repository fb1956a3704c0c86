/** Configs of published models that are no decoders, for models of their real shape with random weights. */
import type { RawConfig } from '../weights/types.js';

export const familyShapes = {
  /** 32 texts of 128 tokens to hidden states. */
  'bert-base': { architectures: ['BertModel'], model_type: 'bert' },
  /** Texts of 128 tokens, 64 written to each, one text and eight at once. */
  't5-base': {
    ...{ architectures: ['T5ForConditionalGeneration'], model_type: 't5', d_model: 768, d_ff: 3072, d_kv: 64 },
    ...{ num_layers: 12, num_decoder_layers: 12, num_heads: 12, decoder_start_token_id: 0, eos_token_id: 1 },
  },
  /** As opus-mt: 6 + 6 layers of 512, 58,101 ids. */
  marian: {
    ...{ architectures: ['MarianMTModel'], model_type: 'marian', d_model: 512, vocab_size: 58_101 },
    ...{ encoder_layers: 6, decoder_layers: 6, encoder_attention_heads: 8, decoder_attention_heads: 8 },
    ...{ encoder_ffn_dim: 2048, decoder_ffn_dim: 2048, activation_function: 'swish', scale_embedding: true },
    ...{ max_position_embeddings: 512, decoder_start_token_id: 58_100, pad_token_id: 58_100, eos_token_id: 0 },
    ...{ static_position_embeddings: true, forced_eos_token_id: null },
  },
  /** Half a minute of sound to letters' logits. */
  'wav2vec2-base': { architectures: ['Wav2Vec2ForCTC'], model_type: 'wav2vec2' },
} as const satisfies Readonly<Record<string, RawConfig>>;

export type FamilyName = keyof typeof familyShapes;

export const familyNames: readonly FamilyName[] = Object.keys(familyShapes) as FamilyName[];

export const isFamily = (name: string | undefined): name is FamilyName =>
  name !== undefined && Object.hasOwn(familyShapes, name);
