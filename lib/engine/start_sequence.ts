import { commonPrefix, forkBlocks } from './admission.js';
import { BeamJob } from './beams.js';
import type { BuiltDecoder } from './build.js';
import type { TextReader } from './encode_texts.js';
import type { KvPool } from './kv_pool.js';
import { type GenerationRequest, Sequence } from './sequence.js';

/** A sequence with room for all completions in full, or nothing; the others fork from it once the prompt is in. */
export function startSequence(
  request: GenerationRequest,
  built: BuiltDecoder,
  pool: KvPool,
  reader: TextReader | undefined,
): Sequence | undefined {
  const total = request.prompt.length + request.options.maxTokens;
  const ids = Array.from(request.prompt);
  const extra = forkBlocks(request, built.builder.ropeSwitch);
  const kept = request.retained;
  const signature = request.probe?.signature ?? '';
  let cached = 0;
  let table = kept?.table;
  if (kept !== undefined && table !== undefined) {
    cached = commonPrefix(kept, ids, built.ropeLimit, signature);
    table.truncate(cached);
    kept.ids.length = cached;
    Object.assign(kept, { busy: true, signature });
    if (!pool.claim(table, total, cached, extra)) {
      table.truncate(cached);
      kept.busy = false;
      return undefined;
    }
  } else {
    table = pool.open(total, extra);
    if (table === undefined) return undefined;
    if (kept !== undefined) Object.assign(kept, { table, ids: [], busy: true, signature });
  }
  const sequence = new Sequence(request, 0, table, ids, cached);
  if (request.source !== undefined) {
    sequence.text = reader?.open(request.source);
    if (sequence.text === undefined) {
      pool.blocks.unpromise(extra);
      table.close();
      return undefined;
    }
  }
  if (request.options.beams === undefined) sequence.spare = extra;
  else sequence.beams = new BeamJob(request, sequence, pool.blocks, extra);
  return sequence;
}
