import { closeSync, copyFileSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Qwen2.5-0.5B. */
export const qwenConfig = {
  architectures: ['Qwen2ForCausalLM'],
  model_type: 'qwen2',
  vocab_size: 151936,
  hidden_size: 896,
  intermediate_size: 4864,
  num_hidden_layers: 24,
  num_attention_heads: 14,
  num_key_value_heads: 2,
  hidden_act: 'silu',
  max_position_embeddings: 32768,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000,
  tie_word_embeddings: true,
  use_sliding_window: false,
  torch_dtype: 'bfloat16',
  bos_token_id: 151643,
  eos_token_id: 151645,
} as const;

type Config = {
  -readonly [K in keyof typeof qwenConfig]: (typeof qwenConfig)[K] extends number ? number : (typeof qwenConfig)[K];
};

function shapes(c: Config): [string, number[]][] {
  const head = c.hidden_size / c.num_attention_heads;
  const [q, kv] = [c.hidden_size, head * c.num_key_value_heads];
  const all: [string, number[]][] = [['model.embed_tokens.weight', [c.vocab_size, c.hidden_size]]];
  for (let l = 0; l < c.num_hidden_layers; l++) {
    const add = (name: string, ...shape: number[]): number => all.push([`model.layers.${l}.${name}`, shape]);
    add('input_layernorm.weight', c.hidden_size);
    for (const [name, rows] of [
      ['q', q],
      ['k', kv],
      ['v', kv],
    ] as const) {
      add(`self_attn.${name}_proj.weight`, rows, c.hidden_size);
      add(`self_attn.${name}_proj.bias`, rows);
    }
    add('self_attn.o_proj.weight', c.hidden_size, q);
    add('post_attention_layernorm.weight', c.hidden_size);
    add('mlp.gate_proj.weight', c.intermediate_size, c.hidden_size);
    add('mlp.up_proj.weight', c.intermediate_size, c.hidden_size);
    add('mlp.down_proj.weight', c.hidden_size, c.intermediate_size);
  }
  all.push(['model.norm.weight', [c.hidden_size]]);
  return all;
}

/** bf16 values uniform in ±0.05, repeated every few MiB: a fast way to a gigabyte of weights. */
function noise(): Buffer {
  const halves = new Uint16Array(3 << 20);
  const f32 = new Float32Array(1);
  const bits = new Uint32Array(f32.buffer);
  let state = 12345;
  for (let i = 0; i < halves.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    f32[0] = (state / 2 ** 32 - 0.5) * 0.1;
    halves[i] = bits[0]! >>> 16;
  }
  return Buffer.from(halves.buffer);
}

/** Writes a bf16 checkpoint of this shape with random weights; returns its bytes. */
export function writeQwen(folder: string, change: Partial<Config> = {}): number {
  const config: Config = { ...qwenConfig, ...change };
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const [name, shape] of shapes(config)) {
    const bytes = 2 * shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'BF16', shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(join(folder, 'model.safetensors'), 'w');
  writeSync(file, Buffer.concat([length, text]));
  const chunk = noise();
  for (let done = 0; done < at; done += chunk.length) writeSync(file, chunk, 0, Math.min(chunk.length, at - done));
  closeSync(file);
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return at;
}

/** The published Qwen2 tokenizer beside the weights. */
export function copyQwenTokenizer(shared: string, folder: string): void {
  for (const name of [
    'vocab.json',
    'merges.txt',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'added_tokens.json',
  ]) {
    copyFileSync(join(shared, 'tokenizers/qwen2', name), join(folder, name));
  }
}
