import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** Examples import the package by its name: these are the sources of its exports. */
const sources: Readonly<Record<string, string>> = {
  verdant: 'lib/index.ts',
  'verdant/graph': 'lib/graph/index.ts',
  'verdant/ops': 'lib/runtime/ops.ts',
  'verdant/layers': 'lib/layers/index.ts',
};

export default defineConfig({
  resolve: {
    alias: Object.entries(sources).map(([name, path]) => ({
      find: new RegExp(`^${name}$`),
      replacement: join(import.meta.dirname, path),
    })),
  },
  test: {
    // The addon is loaded once per process: each test file gets a process of its own.
    pool: 'forks',
    include: ['tests/**/*.test.ts'],
    typecheck: {
      enabled: true,
      include: ['tests/**/*.test-d.ts'],
      tsconfig: 'tsconfig.json',
      ignoreSourceErrors: true,
    },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: process.env.CI ? ['dot'] : ['default'],
  },
});
