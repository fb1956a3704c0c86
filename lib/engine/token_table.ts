import { UnsupportedError } from '../errors.js';
import { Graph, type Weight } from '../graph/graph.js';
import { lower } from '../graph/lower.js';
import { dim, stepDim } from '../graph/shape.js';
import { floats } from '../graph/weight_expr.js';
import { mul } from '../ops/elementwise.js';
import { embed } from '../ops/embed.js';
import { linear } from '../ops/linear.js';
import type { DeviceModel, Executable } from '../runtime/executable.js';

/** Rows of the table that one step of measuring takes. */
const kRows = 2048;

/** The token embeddings of a model as a space of vectors: one weight with the model's own, computed with in f32. */
export class TokenTable {
  readonly vocab: number;
  readonly width: number;
  readonly #model: DeviceModel;
  readonly #graph = new Graph('token_table');
  readonly #programs = new Map<string, Promise<Executable>>();
  #lengths: Promise<Float32Array> | undefined;

  /** `of`: a graph that embeds input_ids. */
  constructor(model: DeviceModel, of: Graph) {
    const node = of.nodes.find((n) => n.op === 'embed' && n.inputs[0]?.name === 'input_ids');
    if (node === undefined) throw new UnsupportedError('the model has no table of token embeddings');
    const own = node.inputs[1] as Weight<[string, string]>;
    this.#model = model;
    [this.vocab, this.width] = [own.dims[0].size!, own.dims[1].size!];
    const graph = this.#graph;
    const cols = dim('cols', this.width);
    const table = graph.weight<['vocab', 'cols']>(own.name, own.expr, [dim('vocab', this.vocab), cols]);
    const vectors = embed(graph.input('ids', 'i32', [stepDim('rows')] as const), table); // (rows, cols)
    graph.output('vectors', vectors as never);
    const ones = graph.weight<['one', 'cols']>('ones', floats(new Float32Array(this.width).fill(1)), [
      dim('one', 1),
      cols,
    ]);
    graph.output('squares', linear(mul(vectors, vectors), ones) as never); // (rows, 1)
    const query = graph.input('query', 'f32', [stepDim('queries'), cols] as const);
    graph.output('products', linear(query, table) as never); // (queries, vocab)
  }

  /** The stored vector of one token. */
  async vector(id: number): Promise<Float32Array> {
    const { outputs } = await (await this.#program('vectors')).run({ rows: 1 }, { ids: Int32Array.of(id) });
    return outputs.vectors as Float32Array;
  }

  /** Cosine of the angle between a vector (width) and each token's: (vocab), 0 for a token of length 0. */
  async cosines(vector: Float32Array): Promise<Float32Array> {
    const lengths = await this.#measured();
    const own = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
    const query = vector.map((x) => x / own);
    const { outputs } = await (await this.#program('products')).run({ queries: 1 }, { query });
    const cosines = outputs.products as Float32Array;
    for (let i = 0; i < cosines.length; i++) cosines[i] = lengths[i] === 0 ? 0 : cosines[i]! / lengths[i]!;
    return cosines;
  }

  /** The length of each token's vector (vocab), found once. */
  #measured(): Promise<Float32Array> {
    this.#lengths ??= this.#measure();
    this.#lengths.catch(() => {
      this.#lengths = undefined;
    });
    return this.#lengths;
  }

  async #measure(): Promise<Float32Array> {
    const program = await this.#program('squares');
    const all = new Float32Array(this.vocab);
    for (let from = 0; from < this.vocab; from += kRows) {
      const rows = Math.min(kRows, this.vocab - from);
      const ids = Int32Array.from({ length: rows }, (_, i) => from + i);
      const { outputs } = await program.run({ rows }, { ids });
      all.set((outputs.squares as Float32Array).map(Math.sqrt), from);
    }
    return all;
  }

  #program(output: string): Promise<Executable> {
    const known = this.#programs.get(output);
    if (known !== undefined) return known;
    const made = this.#model.compile(lower(this.#graph, { name: output, outputs: [output], compute: 'f32' }));
    this.#programs.set(output, made);
    made.catch(() => this.#programs.delete(output));
    return made;
  }
}
