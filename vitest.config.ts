import { defineConfig } from 'vitest/config';

export default defineConfig({
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
