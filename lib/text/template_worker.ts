/** Entry of the template worker. */
import { parentPort } from 'node:worker_threads';
import { toWire } from './rpc.js';
import { type RenderRequest, renderSegments } from './template_render.js';

const port = parentPort;
if (port === null) throw new Error('this module runs in a worker thread');

port.on('message', (message: RenderRequest & { readonly id: number }) => {
  try {
    port.postMessage({ id: message.id, value: renderSegments(message) });
  } catch (error) {
    port.postMessage({ id: message.id, error: toWire(error, 'ERR_TEMPLATE') });
  }
});
