import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeEncoder, openEncoder } from '../../lib/cli/inspect_parts.js';
import { type BuiltAudio, type BuiltEncoder, buildModel } from '../../lib/engine/build.js';
import { devices } from '../../lib/runtime/devices.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { fixtures } from '../support/fixtures.js';
import { readTensors } from '../support/safetensors.js';
import { root, temporaryFolder, verdant } from './cli.js';

const gemma = 'tests/fixtures/models/gemma2';

describe('verdant inspect', () => {
  it('says what a model is made of', async () => {
    const [text, json] = await Promise.all([
      verdant(['inspect', gemma, '--tensors']),
      verdant(['inspect', gemma, '--json', '--tensors']),
    ]);
    const found = JSON.parse(json.stdout);
    expect(found).toMatchObject({
      architecture: 'Gemma2ForCausalLM',
      layers: 3,
      vocabSize: 97,
      tensors: 35,
      dtypes: { f32: { count: 35, bytes: 4 * found.parameters } },
      compute: { f32: 22 },
      tokenizer: null,
      chatTemplate: null,
      generationProblem: null,
    });
    // Keys and values, f32, of 3 layers with 2 heads of 14, and the token's id.
    expect(found.memory.kvBytesPerToken).toBe(3 * 2 * 2 * 14 * 4 + 4);
    expect(found.memory.weightBytes).toBeGreaterThan(4 * found.parameters);
    expect(found.memory.arenaBytes).toBeGreaterThan(0);
    expect(found.tensorList).toContainEqual({ name: 'model.norm.weight', dtype: 'f32', shape: [40] });
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(/^compute +f32: 22 linears$/m);
    expect(text.stdout).toMatch(/^cache groups +2 layers of 2 x 14, window 6; 1 layers of 2 x 14$/m);
    expect(text.stdout).toMatch(/^model\.norm\.weight +f32 +\[40\]$/m);
  });

  it.each([
    ['bf16', 3 * 2 * 2 * 14 * 2 + 4],
    ['q8', 3 * 2 * (14 + 4 + 14 + 4) + 4], // a scale for each key and value
  ])('shows the memory of a cache in %s', async (type, bytes) => {
    const [text, json] = await Promise.all([
      verdant(['inspect', gemma, '--kv-type', type]),
      verdant(['inspect', gemma, '--kv-type', type, '--json']),
    ]);
    const { memory } = JSON.parse(json.stdout);
    expect(memory).toMatchObject({ kvType: type, kvBytesPerToken: bytes });
    expect(memory.kvBytes).toBe(memory.kvBlocks * 32 * bytes);
    expect(text.stdout).toMatch(new RegExp(`^KV cache +${type}, ${bytes} B per token,`, 'm'));
  });

  it('refuses a KV type that it does not know', async () => {
    const { code, stderr } = await verdant(['inspect', gemma, '--kv-type', 'q4']);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/--kv-type.*f32, bf16, q8/);
  });

  it('shows tokenizer, chat template and generation defaults', async () => {
    const { stdout, stderr } = await verdant([
      'inspect',
      'models/verdant-tiny',
      '--compute',
      'f32',
      '--max-context',
      '64',
    ]);
    expect(stderr).toBe('');
    const { num_hidden_layers: layers } = JSON.parse(readFileSync('models/verdant-tiny/config.json', 'utf8'));
    // q, k, v, o, gate, up and down of each layer, and the head.
    expect(stdout).toMatch(new RegExp(`^compute +f32: ${7 * layers + 1} linears$`, 'm'));
    expect(stdout).toMatch(/^context +64 tokens$/m);
    expect(stdout).toMatch(/^chat template +\S+, sha256 [0-9a-f]{64}$/m);
    expect(stdout).toMatch(/^generation .*doSample true, temperature 0\.7/m);
  });
});

describe('verdant inspect of what is no decoder', () => {
  it.each([
    ['encoders/bert_sequence', /^outputs +logits \[seqs, 3\]$/m, /^reads +ids$/m],
    // Its config names a masked-LM class, whose head is not there: 20 numbers enter its dense module, 13 come out.
    ['sentence_transformers/mean_dense', /^outputs .*sentence_embedding \[seqs, 13\]/m, /^reads +ids$/m],
    ['speech/wav2vec2', /^outputs +logits \[rows, 33\]$/m, /^reads +waveform$/m],
    [
      'seq2seq/t5',
      /^encoder +2 layers, reads ids, vocabulary 97, at most 16384 rows$/m,
      /^cross cache +3 layers of 2 x 11,/m,
    ],
    ['whisper/whisper', /^encoder +2 layers, reads spectrogram, 7 bands, at most 19 rows$/m, /^ends +ids 49$/m],
  ])('%s', async (name, ...lines) => {
    const folder = join('tests/fixtures', name);
    const [text, json] = await Promise.all([
      verdant(['inspect', folder, '--compute', 'f32']),
      verdant(['inspect', folder, '--json', '--tensors']),
    ]);
    expect(text).toMatchObject({ code: 0, stderr: '' });
    for (const line of lines) expect(text.stdout).toMatch(line);
    const found = JSON.parse(json.stdout);
    const elements = found.tensorList.map((t: { shape: number[] }) => t.shape.reduce((n, d) => n * d, 1));
    expect(found.parameters).toBe(elements.reduce((a: number, b: number) => a + b, 0));
    expect(found.tensors).toBe(found.tensorList.length);
  });

  it('refuses options of a cache', async () => {
    const { code, stderr } = await verdant(['inspect', 'tests/fixtures/encoders/bert', '--max-context', '8']);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/maxContext has no meaning for BertModel/);
  });

  const encoders = [...fixtures('encoders'), ...fixtures('speech')];
  it.each(encoders.map(({ name, folder }) => [name, folder]))(
    '%s: outputs, linears and bytes',
    async (_name, folder) => {
      const checkpoint = await openCheckpoint(folder);
      const built = buildModel(checkpoint) as BuiltEncoder | BuiltAudio;
      const opened = await openEncoder(checkpoint, built, { threads: 1 });
      try {
        const found = describeEncoder(opened);
        expect(found.reads).toBe(built.kind === 'audio' ? 'waveform' : 'ids');
        const names = new Set([...(await readTensors(join(folder, 'expected.safetensors'))).keys()]);
        for (const name of Object.keys(found.outputs)) expect(names, name).toContain(name);
        expect(found.linears.length).toBeGreaterThanOrEqual(4 * found.layers);
        expect(Object.values(found.compute).reduce((a, b) => a + b, 0)).toBe(found.linears.length);
        expect(found.memory.weightBytes).toBeGreaterThan(2 * found.parameters);
        expect(found.memory.arenaBytes).toBeGreaterThan(0);
      } finally {
        await opened.dispose();
      }
    },
  );
});

describe('verdant graph', () => {
  it('prints the same program each time, as text and as data', async () => {
    const [text, again, json] = await Promise.all([
      verdant(['graph', gemma]),
      verdant(['graph', gemma]),
      verdant(['graph', gemma, '--json']),
    ]);
    expect(text).toMatchObject({ code: 0, stderr: '', stdout: again.stdout });
    expect(text.stdout).toMatch(/^program step\n/);
    expect(text.stdout).toMatch(/= attention\(.*window=6/);
    const program = JSON.parse(json.stdout);
    const lines = text.stdout.split('\n').filter((line) => line.includes('  # '));
    expect(program.nodes).toHaveLength(lines.length);
  });

  it('leaves out what the wanted outputs do not need', async () => {
    const { stdout } = await verdant([
      'graph',
      gemma,
      '--outputs',
      'hidden_states.1, attentions.0',
      '--compute',
      'f32',
    ]);
    expect(stdout).toMatch(/^output hidden_states\.1 = %\d+\noutput attentions\.0 = %\d+\n$/m);
    // Keys and values of all layers are written, but nothing is computed behind the last of them.
    expect(stdout).toContain('layers.2.self_attn.k_proj');
    expect(stdout).not.toMatch(/layers\.2\.mlp|model\.norm|logit_rows/);
    expect(stdout).toContain('compute=f32');
  });

  it('prints what encoders compute, and both programs of encoder-decoders', async () => {
    const [tokens, t5] = await Promise.all([
      verdant(['graph', 'tests/fixtures/encoders/bert_tokens']),
      verdant(['graph', 'tests/fixtures/seq2seq/t5']),
    ]);
    expect(tokens).toMatchObject({ code: 0, stderr: '' });
    expect(tokens.stdout).toMatch(/classifier/);
    expect(tokens.stdout).not.toMatch(/sample/);
    expect(t5).toMatchObject({ code: 0, stderr: '' });
    expect(t5.stdout).toMatch(/encode[\s\S]*kv_write[\s\S]*step[\s\S]*sample/);
  });

  it('names the outputs that there are', async () => {
    const made = await verdant(['graph', gemma, '--outputs', 'loggits']);
    expect(made).toMatchObject({ code: 1, stdout: '' });
    expect(made.stderr).toMatch(/^verdant: .*no output loggits; expected .*"hidden_states\.0".*"logits"/);
  });
});

describe('verdant doctor', () => {
  it('lists devices, threads and the cache', async () => {
    const env = { HF_HUB_CACHE: '/nowhere/hub', HF_TOKEN: '' };
    const [text, json] = await Promise.all([verdant(['doctor'], { env }), verdant(['doctor', '--json'], { env })]);
    const found = JSON.parse(json.stdout);
    expect(found).toMatchObject({ usable: true, node: process.version, nodeApi: process.versions.napi, problem: null });
    expect(found.devices).toEqual(devices());
    expect(found.threads.default).toBe(devices()[0]!.threads);
    expect(found.hub).toMatchObject({ cacheDir: '/nowhere/hub', cacheExists: false, offline: true });
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(/^cuda:0 +absent: \S/m);
    expect(text.stdout).toMatch(/^hub cache +\/nowhere\/hub \(not there yet\)$/m);
    expect(text.stdout).toMatch(/^result +ready$/m);
  });
});

describe('verdant pull', () => {
  it('prints the path of a model that is cached, and run takes the id', async () => {
    const cache = temporaryFolder();
    const commit = '0123456789abcdef0123456789abcdef01234567';
    const snapshot = join(cache, 'models--some--model/snapshots', commit);
    mkdirSync(join(cache, 'models--some--model/refs'), { recursive: true });
    writeFileSync(join(cache, 'models--some--model/refs/main'), commit);
    cpSync(join(root, 'tests/fixtures/models/gpt2'), snapshot, { recursive: true });
    const pulled = await verdant(['pull', 'some/model', '--cache-dir', cache]);
    expect(pulled).toMatchObject({ code: 0, stderr: '', stdout: `${snapshot}\n` });
    const graph = await verdant(['graph', 'some/model', '--cache-dir', cache, '--revision', commit]);
    expect(graph.code).toBe(0);
  });

  it('says what is missing offline', async () => {
    const made = await verdant(['pull', 'some/model', '--cache-dir', temporaryFolder()]);
    expect(made).toMatchObject({ code: 1, stdout: '' });
    expect(made.stderr).toMatch(/^verdant: cannot reach the hub in offline mode.*some\/model.*\n.*offline.*\n$/);
  });

  it('refuses what is no id', async () => {
    const made = await verdant(['pull', '../secrets']);
    expect(made).toMatchObject({ code: 2, stdout: '' });
    expect(made.stderr).toMatch(/^verdant: not the id of a model on the hub/);
  });
});
