// What TypeScript does not check: forgotten promises, incomplete switches, and the house's own bans.
import tseslint from 'typescript-eslint';

const TIMERS = ['setTimeout', 'setInterval'].map((name) => ({ name, message: 'Time comes from the context (src/platform/context.ts).' }));
const TIME = [
  { selector: 'CallExpression[callee.object.name="Date"][callee.property.name="now"]', message: 'Time comes from the context\'s clock.' },
  { selector: 'NewExpression[callee.name="Date"][arguments.length=0]', message: 'Time comes from the context\'s clock.' },
  { selector: 'CallExpression[callee.object.name="Math"][callee.property.name="random"]', message: 'Random bytes come from the context.' },
  { selector: 'CallExpression[callee.object.name="performance"]', message: 'Time comes from the context\'s clock.' },
];
const SHELL = [
  { selector: 'Property[key.name="shell"]:not([value.value=false])', message: 'Commands are argv, never shell strings.' },
];
const EXEC = {
  paths: ['child_process', 'node:child_process'].map((name) => ({
    name, importNames: ['exec', 'execSync'], message: 'Commands are argv, never shell strings.',
  })),
};

const TIMERS_MODULES = ['timers', 'node:timers', 'timers/promises', 'node:timers/promises'].map((name) => ({ name, message: TIMERS[0].message }));

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', 'nimbus-data/', '**/node_modules/'] },
  {
    files: ['src/**/*.ts', 'migrations/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'],
    languageOptions: { parser: tseslint.parser, parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { '@typescript-eslint': tseslint.plugin },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/prefer-promise-reject-errors': ['error', { allowThrowingUnknown: true }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'prefer-const': ['error', { ignoreReadBeforeAssign: true }],
      'no-var': 'error',
      'no-restricted-imports': ['error', EXEC],
      'no-restricted-syntax': ['error', ...SHELL],
      'max-lines': ['error', { max: 400 }],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/platform/**', 'src/control/agent/clock.ts'],
    rules: {
      'no-restricted-globals': ['error', ...TIMERS],
      'no-restricted-imports': ['error', { paths: [...EXEC.paths, ...TIMERS_MODULES] }],
      'no-restricted-syntax': ['error', ...SHELL, ...TIME],
    },
  },
);
