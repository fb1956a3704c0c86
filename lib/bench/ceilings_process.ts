/** The process behind CeilingProbe: options come in, ceilings go out. It ends with its parent. */
import { type CeilingOptions, type CeilingReply, measureCeilings } from './ceilings.js';

async function answer(options: CeilingOptions): Promise<CeilingReply> {
  try {
    return { ceilings: await measureCeilings(options) };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}

process.on('disconnect', () => process.exit(0));
process.on('SIGINT', () => undefined); // the parent decides
process.on('message', (options: CeilingOptions) => void answer(options).then((reply) => process.send?.(reply)));
