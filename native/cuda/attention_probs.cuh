// The weights after softmax, of traces: scores once more, with the (m, l) that are known now.
#pragma once
#include "cuda/attention.cuh"

namespace verdant::cuda {

// One block per row and kv head, a thread per key and query head in turn: p = exp(s - m) / l, zero where unseen.
template <KvForm kForm>
static __global__ void attention_probs_kernel(AttentionArgs a) {
  wait_for_predecessors();
  const int64_t kv_head = blockIdx.x % a.kv_heads;
  RowTile tile = row_tile(a, 1, blockIdx.x / a.kv_heads);
  if (tile.begin >= tile.end) return;
  for (int64_t i = threadIdx.x; i < a.group * a.prob_cols; i += kAttentionThreads) {
    const int64_t key = i % a.prob_cols;
    const Query q = tile_query(a, tile, kv_head, i / a.prob_cols);
    const float* state = a.stats + 2 * (q.row * a.heads + q.head);
    float p = 0.0f;
    if (key >= q.first && key < q.end && state[1] != 0.0f) {
      const KvPage<kForm> page(a, tile.seq, kv_head, key / kPage, q.end);
      const float* x = a.q + (q.row * a.heads + q.head) * a.head_dim;
      const int slot = static_cast<int>(key % kPage);
      float s = 0.0f, part = 0.0f;
      for (int d = 0; d < a.head_dim; d++) {
        const float q_d = kForm == KvForm::kTiles ? bf16_value(bf16_pair(x[d], 0.0f)) : x[d];
        part = fmaf(q_d, page.decode(page.raw_key(slot, d)), part);
        if (kForm != KvForm::kQ8 || (d % kKvScaleCols != kKvScaleCols - 1 && d != a.head_dim - 1)) continue;
        const float scale = page.key_scale(slot, d / kKvScaleCols);
        s = d < kKvScaleCols ? part * scale : fmaf(part, scale, s);
        part = 0.0f;
      }
      s = finish_score(a, q, tile.seq, key, kForm == KvForm::kQ8 ? s : part);
      p = s == -INFINITY ? 0.0f : expf(s - state[0]) / state[1];
    }
    a.probs[(q.head * a.rows + q.row) * a.prob_cols + key] = p;
  }
}

}  // namespace verdant::cuda
