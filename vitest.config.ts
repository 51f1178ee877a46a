import { defineConfig, type ViteUserConfig } from 'vitest/config'

/** Two workers, because the smallest machine that must run this has two cores; a test that needs 30 s is a bug. */
const config: ViteUserConfig = defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['node_modules/**', 'dist/**', 'test/crash/**', 'test/mutants/**'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['src/**/*.test.ts', 'src/**/*.test-{kit,model}.ts'],
    },
  },
})

export default config
