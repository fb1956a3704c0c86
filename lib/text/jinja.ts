/** The parts of `@huggingface/jinja` that are used here; its declarations do not resolve under NodeNext. */
import * as library from '@huggingface/jinja';

export interface Program {
  readonly type: string;
}

export interface Environment {
  /** Declares a variable from plain data or a function. */
  set(name: string, value: unknown): unknown;
}

export interface Interpreter {
  run(program: Program): { readonly value: unknown };
  evaluate(statement: Program, environment: Environment): { readonly value?: unknown };
}

interface Parts {
  readonly Environment: new () => Environment;
  readonly Interpreter: new (environment: Environment) => Interpreter;
  readonly Template: new (source: string) => { readonly parsed: Program };
}

export const { Environment, Interpreter, Template }: Parts = library as unknown as Parts;
