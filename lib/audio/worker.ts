/** Entry of the audio worker: decodes files and resamples, one request after another. */
import { parentPort } from 'node:worker_threads';
import { toWire } from '../text/rpc.js';
import { decodeFile, resample } from './decode.js';

interface Incoming {
  readonly id: number;
  readonly file?: string;
  readonly samples?: Float32Array;
  readonly from?: number;
  readonly sampleRate: number;
}

const port = parentPort;
if (port === null) throw new Error('this module runs in a worker thread');

async function answer({ file, samples, from, sampleRate }: Incoming): Promise<Float32Array> {
  if (file !== undefined) return decodeFile(file, sampleRate);
  return resample(samples!, from!, sampleRate);
}

// Decoders print what they cannot read; the caller hears of it as an error.
console.error = () => undefined;

let last = Promise.resolve();

port.on('message', (message: Incoming) => {
  last = last.then(async () => {
    try {
      const value = await answer(message);
      port.postMessage({ id: message.id, value }, [value.buffer as ArrayBuffer]);
    } catch (error) {
      port.postMessage({ id: message.id, error: toWire(error, 'ERR_INPUT') });
    }
  });
});
