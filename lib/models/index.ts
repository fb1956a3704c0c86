import { UnsupportedError } from '../errors.js';
import type { Architecture } from './architecture.js';
import { gemma } from './gemma.js';
import { gemma2 } from './gemma2.js';
import { gemma3Text } from './gemma3_text.js';
import { gpt2 } from './gpt2.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { phi3 } from './phi3.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';

/** All architectures. A new one: its file and its line here. */
export const architectures: readonly Architecture[] = [
  gpt2,
  llama,
  mistral,
  qwen2,
  qwen3,
  phi3,
  gemma,
  gemma2,
  gemma3Text,
];

/** The architecture of a config's `architectures[0]`, or of its `model_type` where that is absent. */
export function findArchitecture(className: string | undefined, modelType: string, file: string): Architecture {
  const found = architectures.find((a) =>
    className === undefined ? a.modelType === modelType : a.classes.includes(className),
  );
  if (found !== undefined) return found;
  throw new UnsupportedError('unsupported architecture', {
    file,
    name: 'architectures',
    expected: architectures.flatMap((a) => a.classes).join(', '),
    found: className ?? modelType,
  });
}

export { type Architecture, type GgufNames, ggufName, llamaGgufNames } from './architecture.js';
