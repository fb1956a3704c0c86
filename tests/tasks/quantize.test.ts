import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { AbortError, InputError, ModelNotFoundError, OptionError, UnsupportedError } from '../../lib/errors.js';
import { builtInModel, type LoadOptions, load } from '../../lib/tasks/load.js';
import { quantize } from '../../lib/tasks/quantize.js';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { matrixType, type QuantizeType, quantizeTypes } from '../../lib/weights/quantize_rules.js';
import { writeSafetensors } from '../../lib/weights/write_safetensors.js';
import { type Fixture, fixture, fixtures, readJson } from '../support/fixtures.js';
import { Random } from '../support/random.js';
import { error } from '../support/safetensors.js';

const folder = mkdtempSync(join(tmpdir(), 'verdant-quantize-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const out = (name: string): string => join(folder, `${name}.gguf`);
const small: LoadOptions = { compute: 'f32', maxContext: 61, threads: 1 };
const prompt = [3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46];

/** Opens a model for the time of `use`. */
async function opened<T>(path: string, options: LoadOptions, use: (model: TextModel) => Promise<T>): Promise<T> {
  const model = await load(path, { ...small, ...options });
  try {
    return await use(model);
  } finally {
    await model.dispose();
  }
}

async function logits(path: string, options: LoadOptions = {}): Promise<Float32Array> {
  return opened(path, options, async (m) => (await m.forward({ inputIds: prompt })).logits);
}

/** A fixture with other fields in its config. */
function changed(name: string, patch: Readonly<Record<string, unknown>>): string {
  const to = join(folder, `changed_${name}`);
  cpSync(fixture('models', name).folder, to, { recursive: true });
  writeFileSync(join(to, 'config.json'), JSON.stringify({ ...readJson(join(to, 'config.json')), ...patch }));
  return to;
}

const greedy = (path: string, options: LoadOptions = {}): Promise<readonly number[]> =>
  opened(path, options, async (m) => {
    const made = await m.generate(prompt, { greedy: true, maxTokens: 12, ignoreEos: true }).result();
    return made.completions[0]!.ids;
  });

/** What GGUF has no place for, by fixture: the field that the error names. */
const refused: Readonly<Record<string, string>> = {
  gemma3_layer_types: 'layer_types',
  gpt_neox_sequential: 'hidden_act',
  gpt2_gelu: 'activation_function',
  gpt2_plain: 'scale_attn',
  gpt2_relu: 'activation_function',
  llama_head_only: 'hidden_act',
  llama_rope_dynamic: 'rope_type',
  llama_rope_yarn_factor: 'truncate',
  olmo2_bias: 'attention_bias',
  phi_qk_layernorm: 'qk_layernorm',
  qwen2_window: 'layer_types',
  qwen3_layer_types: 'layer_types',
  smollm3_window: 'attention_bias',
  stablelm_parallel: 'qk_layernorm',
  starcoder2_plain: 'hidden_act',
  qwen3_moe_mixed: 'attention_bias',
};

/** Model types that GGUF files are written for. */
const written = [
  ...['gpt2', 'llama', 'mistral', 'qwen2', 'qwen3', 'phi3', 'gemma', 'gemma2', 'gemma3_text'],
  ...['gpt_neox', 'phi', 'stablelm', 'starcoder2', 'olmo2', 'granite', 'smollm3', 'mixtral', 'qwen3_moe'],
];

/** What the error of a fixture names; undefined: it can be written. */
function refusal({ name, folder: source }: Fixture): string | undefined {
  const type = readJson(join(source, 'config.json')).model_type as string;
  return written.includes(type) ? refused[name] : 'no GGUF form of the model type';
}

describe('quantize to f32: the file computes what the folder does', () => {
  for (const source of fixtures('models')) {
    const { name, folder: path } = source;
    it(name, async () => {
      const made = quantize(path, out(name), { type: 'f32' });
      const field = refusal(source);
      if (field !== undefined) {
        await expect(made).rejects.toThrow(UnsupportedError);
        await expect(made).rejects.toThrow(field);
        expect(existsSync(out(name))).toBe(false);
        return;
      }
      await made;
      const [found, expected] = [await logits(out(name)), await logits(path)];
      expect(found.length).toBe(expected.length);
      expect(error(found, expected)).toBeLessThan(2e-6);
      const eos = await Promise.all([path, out(name)].map((p) => opened(p, {}, async (m) => [...m.eosIds].sort())));
      expect(eos[1]).toEqual(eos[0]);
    });
  }

  it('a tied model that holds its table as the head', async () => {
    const source = changed('llama_head_only', { hidden_act: 'silu' });
    const { tensors } = await quantize(source, out('head_only'), { type: 'f32' });
    expect(tensors.map((t) => t.name)).toContain('token_embd.weight');
    expect(tensors.map((t) => t.name)).not.toContain('output.weight');
    expect(error(await logits(out('head_only')), await logits(source))).toBeLessThan(2e-6);
  });

  it('takes an unquantised GGUF, its tokenizer and rotary factors too', async () => {
    const source = join(fixture('gguf', 'llama_f32').folder, 'model.gguf');
    await quantize(source, out('again'), { type: 'bf16' });
    await quantize(source, out('same'), { type: 'f32' });
    expect(await logits(out('same'))).toEqual(await logits(source));
    expect(await logits(out('again'))).toEqual(await logits(source, { quantize: 'bf16' }));
    const text = 'The mole dug a tunnel, naïve 🐹';
    const ids = await Promise.all([source, out('again')].map((p) => opened(p, {}, (m) => m.encode(text))));
    expect(ids[1]).toEqual(ids[0]);
  });
});

/** A random model with a tokenizer of the text fixtures; rows of 256 and 512 elements. */
async function withTokenizer(kind: 'byte_bpe' | 'fallback_bpe', layers = 1): Promise<string> {
  const to = join(folder, `model_${kind}_${layers}`);
  cpSync(join(import.meta.dirname, '../text/fixtures', kind), to, { recursive: true });
  const gpt2 = kind === 'byte_bpe';
  const [vocab, h, f] = [gpt2 ? 420 : 460, 256, 512];
  const sizes = { vocab_size: vocab, tie_word_embeddings: true, bos_token_id: 0, eos_token_id: 1 };
  const config = gpt2
    ? { ...sizes, model_type: 'gpt2', n_embd: h, n_inner: f, n_layer: layers, n_head: 4, n_positions: 64 }
    : {
        ...{ ...sizes, model_type: 'llama', hidden_size: h, intermediate_size: f, num_hidden_layers: layers },
        ...{ num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 64 },
      };
  writeFileSync(join(to, 'config.json'), JSON.stringify(config));
  const shapes: [string, number[]][] = gpt2
    ? [
        ['wte.weight', [vocab, h]],
        ['wpe.weight', [64, h]],
      ]
    : [];
  for (let i = 0; i < layers; i++) {
    const [g, l] = [`h.${i}`, `model.layers.${i}`];
    if (gpt2) {
      for (const n of ['ln_1', 'ln_2']) shapes.push([`${g}.${n}.weight`, [h]], [`${g}.${n}.bias`, [h]]);
      for (const [n, a, b] of [
        ['attn.c_attn', h, 3 * h],
        ['attn.c_proj', h, h],
        ['mlp.c_fc', h, f],
        ['mlp.c_proj', f, h],
      ] as const)
        shapes.push([`${g}.${n}.weight`, [a, b]], [`${g}.${n}.bias`, [b]]);
      continue;
    }
    for (const n of ['input_layernorm', 'post_attention_layernorm']) shapes.push([`${l}.${n}.weight`, [h]]);
    for (const [n, b, a] of [
      ['q', h, h],
      ['k', h / 2, h],
      ['v', h / 2, h],
      ['o', h, h],
    ] as const)
      shapes.push([`${l}.self_attn.${n}_proj.weight`, [b, a]]);
    for (const [n, b, a] of [
      ['gate', f, h],
      ['up', f, h],
      ['down', h, f],
    ] as const)
      shapes.push([`${l}.mlp.${n}_proj.weight`, [b, a]]);
  }
  if (gpt2) shapes.push(['ln_f.weight', [h]], ['ln_f.bias', [h]]);
  else shapes.push(['model.norm.weight', [h]], ['model.embed_tokens.weight', [vocab, h]]);
  const random = new Random(5);
  const data = (n: number): Float32Array => random.normal(n, 0.06);
  const tensors = shapes.map(
    ([name, shape]) => [name, { shape, data: data(shape.reduce((a, b) => a * b, 1)) }] as const,
  );
  await writeSafetensors(join(to, 'model.safetensors'), new Map(tensors));
  return to;
}

describe('the tokenizer goes into the file', () => {
  for (const kind of ['byte_bpe', 'fallback_bpe'] as const) {
    it(kind, async () => {
      const source = await withTokenizer(kind);
      await quantize(source, out(kind), { type: 'f16' });
      const cases = JSON.parse(readFileSync(join(source, 'expected.json'), 'utf8')) as {
        text: string;
        ids: number[];
      }[];
      await opened(out(kind), {}, async (m) => {
        expect(m.tokenizer?.vocabSize).toBe(kind === 'byte_bpe' ? 420 : 460);
        for (const { text, ids } of cases)
          expect([text, [...(await m.tokenizer!.encode(text, { specialTokens: true }))]]).toEqual([text, ids]);
      });
    });
  }

  it('with its chat template and the ids that end a text', async () => {
    await quantize(builtInModel(), out('tiny'), { type: 'bf16' });
    const facts = (path: string) =>
      opened(path, {}, async (m) => ({
        ...{ eos: m.eosIds, special: m.tokenizer!.specialIds, bos: m.tokenizer!.bosId, pad: m.tokenizer!.padId },
        template: m.tokenizer!.chatTemplates.map((t) => t.sha256),
        ids: [...(await m.encode('The fluffy blue creature asked: "Who dug 12 holes?"\n'))],
      }));
    expect(await facts(out('tiny'))).toEqual(await facts(builtInModel()));
  });

  it('is refused by name where GGUF cannot hold it', async () => {
    const source = await withTokenizer('byte_bpe');
    const file = join(source, 'tokenizer.json');
    const json = JSON.parse(readFileSync(file, 'utf8'));
    const patched = async (patch: object): Promise<void> => {
      writeFileSync(file, JSON.stringify({ ...json, ...patch }));
      await quantize(source, out('refused'), { type: 'f16' });
    };
    await expect(patched({ normalizer: { type: 'Lowercase' } })).rejects.toThrow(/no place for this normalizer.*NFC/);
    const bytes = { type: 'ByteLevel', add_prefix_space: true, use_regex: true };
    await expect(patched({ pre_tokenizer: bytes })).rejects.toThrow(/no place for this pre-tokenizer.*gpt-2/);
    const beyond = [...json.added_tokens, { id: 420, content: '<more>', special: true }];
    await expect(patched({ added_tokens: beyond })).rejects.toThrow(/no row in the embedding.*id 420/);
    expect(existsSync(out('refused'))).toBe(false);
  });
});

/** Types that the matrices of a model are packed in; learned positions stay as they are. */
const packed = (path: string, options: LoadOptions): Promise<string[]> =>
  opened(path, options, async (m) =>
    m.host.built.builder.weights.matrices.filter((x) => !x.name.includes('wpe')).map((x) => x.type),
  );

describe('load with quantize gives what the file gives', () => {
  for (const type of quantizeTypes) {
    for (const kind of ['byte_bpe', 'fallback_bpe'] as const) {
      it(`${type}, ${kind}`, async () => {
        const source = await withTokenizer(kind, 2);
        const { tensors } = await quantize(source, out(`${type}_${kind}`), { type });
        expect(await logits(out(`${type}_${kind}`))).toEqual(await logits(source, { quantize: type }));
        const ids = await greedy(out(`${type}_${kind}`));
        expect(await greedy(source, { quantize: type })).toEqual(ids);
        const types = new Set(
          tensors.filter((t) => t.shape.length > 1 && t.name !== 'position_embd.weight').map((t) => t.type),
        );
        expect(new Set(await packed(source, { quantize: type }))).toEqual(types);
        // Encoded weights stay near the original ones.
        expect(error(await logits(out(`${type}_${kind}`)), await logits(source))).toBeLessThan(
          type === 'f16' ? 0.002 : 0.4,
        );
      });
    }
  }

  it('of the built-in model, whose rows hold no blocks of 256', async () => {
    const { tensors } = await quantize(builtInModel(), out('built_in'), { type: 'q8_0' });
    expect(tensors.filter((t) => t.shape.length > 1).every((t) => t.type === 'q8_0')).toBe(true);
    expect(await greedy(out('built_in'))).toEqual(await greedy(builtInModel(), { quantize: 'q8_0' }));
  });

  it('packs a tied table once, and in less memory', async () => {
    const bytes = (options: LoadOptions) =>
      opened(builtInModel(), options, async (m) => m.host.model.memory().weightBytes);
    const [plain, quantised] = [await bytes({}), await bytes({ quantize: 'q8_0' })];
    expect(quantised / plain).toBeLessThan(0.6);
  });
});

describe('types by the rules of llama-quantize', () => {
  const wanted = (type: QuantizeType, name: string, layers = 16, tied = false, cols = 512): string => {
    const made = matrixType(type, name, cols, { layers, tied });
    return made.wanted === made.type ? made.type : `${made.wanted}>${made.type}`;
  };

  it('gives the head 6 bits', () => {
    expect(wanted('q4_0', 'output.weight')).toBe('q6_k');
    expect(wanted('q4_0', 'token_embd.weight')).toBe('q4_0');
    expect(wanted('q4_0', 'token_embd.weight', 16, true)).toBe('q6_k');
    expect(wanted('q8_0', 'output.weight')).toBe('q8_0');
    expect(wanted('bf16', 'output.weight')).toBe('bf16');
    expect(wanted('q2_k', 'output.weight', 16, false, 96)).toBe('q6_k>q8_0');
  });

  it('falls back where rows do not divide into blocks', () => {
    expect(wanted('q4_k', 'blk.0.attn_q.weight', 16, false, 96)).toBe('q4_k>q5_0');
    expect(wanted('q6_k', 'blk.0.attn_q.weight', 16, false, 96)).toBe('q6_k>q8_0');
    expect(wanted('q4_0', 'blk.0.attn_q.weight', 16, false, 50)).toBe('q4_0>f16');
  });

  it('mixes as Q4_K_M and Q5_K_M', () => {
    const down = (layers: number) =>
      Array.from({ length: layers }, (_, i) => i).filter(
        (i) => wanted('q4_k_m', `blk.${i}.ffn_down.weight`, layers) === 'q6_k',
      );
    expect(down(16)).toEqual([0, 1, 4, 7, 10, 13, 14, 15]);
    expect(down(32)).toEqual([0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]);
    expect(wanted('q4_k_m', 'blk.0.attn_v.weight')).toBe('q6_k');
    expect(wanted('q4_k_m', 'blk.0.attn_q.weight')).toBe('q4_k');
    expect(wanted('q4_k_m', 'blk.2.attn_qkv.weight')).toBe('q5_k');
    expect(wanted('q5_k_m', 'blk.2.attn_v.weight')).toBe('q5_k');
    expect(wanted('q5_k_m', 'blk.2.attn_qkv.weight')).toBe('q6_k');
  });
});

describe('bad inputs', () => {
  const source = builtInModel();

  it('of options', async () => {
    const bad = (options: unknown, to = out('bad')) => expect(quantize(source, to, options as never)).rejects;
    await bad({ type: 'q8' }).toThrow(OptionError);
    await bad({ type: 'q8' }).toThrow(/bad type.*q8_0, q4_0.*found q8/);
    await bad({}).toThrow(/bad type/);
    await bad(null).toThrow(OptionError);
    await bad({ type: 'q8_0', force: true }).toThrow(/unknown option force/);
    await bad({ type: 'q8_0', overwrite: 1 }).toThrow(/bad overwrite/);
    await bad({ type: 'q8_0' }, join(folder, 'm.safetensors')).toThrow(/NAME\.gguf/);
    await bad({ type: 'q8_0' }, join(folder, '.gguf')).toThrow(OptionError);
    await expect(load(source, { quantize: 'Q8_0' as never })).rejects.toThrow(/bad quantize.*q8_0.*found Q8_0/);
  });

  it('of what is quantised already', async () => {
    for (const name of ['llama_q8_0', 'llama_q4_0']) {
      const { folder: from } = fixture('gguf', name);
      await expect(quantize(from, out('bad'), { type: 'f16' })).rejects.toThrow(UnsupportedError);
      await expect(load(from, { quantize: 'q8_0' })).rejects.toThrow(/already quantised.*q[48]_0/);
    }
  });

  it('of places and files', async () => {
    await expect(quantize(join(folder, 'none'), out('bad'), { type: 'f16' })).rejects.toThrow(ModelNotFoundError);
    await expect(quantize(source, join(folder, 'no/m.gguf'), { type: 'f16' })).rejects.toThrow(InputError);
    writeFileSync(out('taken'), '');
    await expect(quantize(source, out('taken'), { type: 'f16' })).rejects.toThrow(/the file exists/);
    const controller = new AbortController();
    const onProgress = (): void => controller.abort();
    const made = quantize(source, out('bad'), { type: 'f16', signal: controller.signal, onProgress });
    await expect(made).rejects.toThrow(AbortError);
    expect(readdirSync(folder).filter((n) => n.endsWith('.tmp') || n === 'bad.gguf')).toEqual([]);
  });
});
