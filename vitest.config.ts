import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** Examples import the package by its name: these are the sources of its exports. */
const sources: Readonly<Record<string, string>> = {
  verdant: 'lib/index.ts',
  'verdant/graph': 'lib/graph/index.ts',
  'verdant/ops': 'lib/runtime/ops.ts',
  'verdant/layers': 'lib/layers/index.ts',
};

/** These measure time or memory, or keep both cores busy: one after another, when the rest is done. */
const measured: readonly string[] = [
  'tests/bench/**/*.test.ts',
  'tests/life/**/*.test.ts',
  'tests/runtime/exit.test.ts',
  'tests/tasks/event_loop.test.ts',
  'tests/text/long_text.test.ts',
];

/** Run once more on a CUDA device. */
const onCuda: readonly string[] = [
  'tests/ops/*.test.ts',
  'tests/cuda/*.test.ts',
  'tests/generation/sample.test.ts',
  'tests/models/parity.test.ts',
];
const emulated = {
  VERDANT_CUDA_LIBRARY: join(import.meta.dirname, 'build/emulator/verdant_cuda.so'),
  VERDANT_TEST_DEVICES: 'cuda:0',
};

const common = {
  // The addon is loaded once per process: each test file gets a process of its own.
  pool: 'forks',
  testTimeout: 60_000,
  hookTimeout: 60_000,
} as const;

const alias = Object.entries(sources).map(([name, path]) => ({
  find: new RegExp(`^${name}$`),
  replacement: join(import.meta.dirname, path),
}));

export default defineConfig({
  test: {
    reporters: process.env.CI ? ['dot'] : ['default'],
    projects: [
      {
        resolve: { alias },
        test: {
          ...common,
          name: 'tests',
          include: ['tests/**/*.test.ts'],
          exclude: [...measured, 'tests/cuda/**'],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
          typecheck: {
            enabled: true,
            include: ['tests/**/*.test-d.ts'],
            tsconfig: 'tsconfig.json',
            ignoreSourceErrors: true,
          },
        },
      },
      {
        // The op tests again, on a CUDA device: emulated, or a real one by VERDANT_TEST_DEVICES=cuda:0.
        resolve: { alias },
        test: {
          ...common,
          name: 'cuda',
          include: process.platform === 'linux' ? [...onCuda] : [],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          globalSetup: ['tests/cuda/setup.ts'],
          env: process.env.VERDANT_TEST_DEVICES === undefined ? emulated : {},
        },
      },
      {
        resolve: { alias },
        test: { ...common, name: 'measured', include: [...measured], maxWorkers: 1, sequence: { groupOrder: 2 } },
      },
    ],
  },
});
