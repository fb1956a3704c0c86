import { Graph, type Tensor, type Weight } from '../graph/graph.js';
import { stepDim } from '../graph/shape.js';
import { embed } from '../ops/embed.js';
import type { ConfigReader } from '../weights/config.js';
import type { RopeConfig } from '../weights/rope_config.js';
import { ropeTableOf } from './rope.js';
import { type WeightSource, Weights } from './weights.js';

export type Rows<C extends string> = Tensor<['rows', C], 'f32'>;

/**
 * What every model function works with: config, weights and the inputs of a step. Rows are the tokens of all sequences of
 * a step one after another; `starts` says where each begins.
 */
export class ModelBuilder {
  readonly graph: Graph;
  readonly config: ConfigReader;
  readonly weights: Weights;
  /** (rows) */
  readonly ids: Tensor<['rows'], 'i32'>;
  /** (rows): position of each token as the model sees it. */
  readonly positions: Tensor<['rows'], 'i32'>;
  /** (rows): length of the sequence that a row's rope angles are computed for (dynamic, longrope). */
  readonly ropeLengths: Tensor<['rows'], 'i32'>;
  readonly starts: Tensor<['seq_bounds'], 'i32'>;
  /** Positions that a learned table holds; undefined: rotary or none. */
  learnedPositions: number | undefined;
  /** Length above which all keys of a sequence must be made anew with other rope angles (longrope). */
  ropeSwitch: number | undefined;
  #attentions = 0;

  /** `beside`: the weights of another graph of the same model, which together use up a checkpoint. */
  constructor(name: string, config: ConfigReader, source: WeightSource, beside?: Weights) {
    this.graph = new Graph(name);
    this.config = config;
    this.weights = beside?.forGraph(this.graph) ?? new Weights(this.graph, source);
    this.ids = this.rowInput('input_ids');
    this.positions = this.rowInput('positions');
    this.ropeLengths = this.rowInput('rope_lengths');
    this.starts = this.graph.input('starts', 'i32', [stepDim('seq_bounds')]);
  }

  /** Runs `body` under a name in the graph: layers.0, self_attn. */
  scoped<R>(name: string, body: () => R): R {
    return this.graph.scoped(name, body);
  }

  /** Rows of the token table: (rows) → (rows, cols). */
  embedTokens<V extends string, C extends string>(table: Weight<[V, C]>): Rows<C> {
    return this.scoped('embed_tokens', () => embed(this.ids, table));
  }

  /** Rows of a table of learned positions: (rows) → (rows, cols). */
  embedPositions<P extends string, C extends string>(table: Weight<[P, C]>): Rows<C> {
    this.learnedPositions = table.dims[0].size;
    return this.scoped('embed_positions', () => embed(this.positions, table));
  }

  /** Cosines and sines of this step for `rope`: (rows, 2 · half), made once for all layers that share them. */
  ropeTable(rope: RopeConfig, headDim: number, name = 'rope'): Tensor<['rows', 'rope'], 'f32'> {
    if (rope.type === 'longrope') this.ropeSwitch = rope.originalMaxPositionEmbeddings;
    return ropeTableOf(this.positions, this.ropeLengths, rope, headDim, name);
  }

  /** Records hidden_states.N as Hugging Face counts them; a program computes nothing for it unless asked. */
  hidden(index: number, x: Rows<string>): void {
    this.graph.output(`hidden_states.${index}`, x as unknown as Tensor);
  }

  /** Records attentions.N, in the order of the layers: (heads, rows, keys). */
  protected recordAttention(probs: Tensor<['heads', 'rows', 'keys'], 'f32'>): void {
    this.graph.output(`attentions.${this.#attentions++}`, probs as unknown as Tensor);
  }

  /** An integer for each row, from the host. */
  protected rowInput(name: string): Tensor<['rows'], 'i32'> {
    return this.graph.input(name, 'i32', [stepDim('rows')]);
  }
}
