/** Metadata of mixtures of experts → config in Hugging Face's spelling. Key names: llama.cpp's llama-arch.cpp. */
import type { RawConfig } from './types.js';

/** Metadata under the architecture's name, range-checked. */
export interface MetadataReader {
  readonly architecture: string;
  optional(key: string, min?: number, max?: number): number | undefined;
  required(key: string, min?: number, max?: number): number;
  float(key: string): number | undefined;
  flag(key: string): boolean | undefined;
}

/** Fields of the config where the file has experts. Mixtral has llama's architecture; their number tells them apart. */
export function readExperts(metadata: MetadataReader): RawConfig {
  const qwen = metadata.architecture === 'qwen3moe';
  const experts = qwen ? metadata.required('expert_count', 1, 4096) : (metadata.optional('expert_count', 0, 4096) ?? 0);
  if (experts === 0) return {};
  const top = metadata.required('expert_used_count', 1, experts);
  if (!qwen) {
    const about = { model_type: 'mixtral', architectures: ['MixtralForCausalLM'] };
    return { ...about, num_local_experts: experts, num_experts_per_tok: top };
  }
  return {
    num_experts: experts,
    num_experts_per_tok: top,
    norm_topk_prob: metadata.flag('expert_weights_norm') ?? true,
    moe_intermediate_size: metadata.required('expert_feed_forward_length', 1, 2 ** 20),
  };
}

/** Refuses experts where no model has them, and ways of choosing and weighing them that differ. */
export function refuseOtherExperts(
  metadata: MetadataReader,
  refuse: (name: string, expected: unknown, found: unknown) => never,
): void {
  const { architecture } = metadata;
  const mixed = architecture === 'llama' || architecture === 'qwen3moe';
  const checks: [key: string, value: number | undefined, good: readonly number[]][] = [
    ...(mixed ? [] : ['expert_count', 'expert_used_count']),
    'expert_shared_count',
    'expert_group_count',
    'leading_dense_block_count',
  ].map((key) => [key, metadata.optional(key), [0]]);
  checks.push(['expert_gating_func', metadata.optional('expert_gating_func'), [1, 0]]); // 1: softmax
  checks.push(['expert_weights_scale', metadata.float('expert_weights_scale'), [1, 0]]);
  for (const [key, value, good] of checks)
    if (value !== undefined && !good.includes(value)) refuse(`${architecture}.${key}`, good[0], value);
  if (architecture === 'llama' && metadata.flag('expert_weights_norm') === false)
    refuse(`${architecture}.expert_weights_norm`, true, false);
}
