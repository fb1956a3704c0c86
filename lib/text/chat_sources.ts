/** Where chat templates come from. */
import { createHash } from 'node:crypto';
import type { ChatTemplateSource } from './protocol.js';

export function templateSource(name: string, template: string, origin: string): ChatTemplateSource {
  return { name, template, origin, sha256: createHash('sha256').update(template).digest('hex') };
}
