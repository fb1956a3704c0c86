/** A model that counts its pieces in its own way → ids of the vocabulary. */
import type { Model } from './encoder.js';
import { IdSink, SpanSink } from './id_sink.js';
import type { PieceIds } from './spec.js';

export class PieceIdModel implements Model {
  private readonly inner: Model;
  private readonly table: PieceIds;
  private readonly vocab: ReadonlyMap<string, number>;

  constructor(inner: Model, table: PieceIds, vocab: ReadonlyMap<string, number>) {
    this.inner = inner;
    this.table = table;
    this.vocab = vocab;
  }

  encode(piece: string, out: IdSink, spans?: SpanSink): void {
    const { ids, unkId, unknown, bySpelling } = this.table;
    const found = new IdSink();
    const places = spans !== undefined || bySpelling ? new SpanSink() : undefined;
    this.inner.encode(piece, found, places);
    for (let i = 0; i < found.length; i += 1) {
      const index = found.get(i);
      let id = ids[index] as number;
      if (index === unknown && bySpelling) {
        id = this.vocab.get(piece.slice(places?.begin(i), places?.end(i))) ?? -1;
      }
      out.push(id < 0 ? unkId : id);
      if (places !== undefined) spans?.push(places.begin(i), places.end(i));
    }
  }
}
