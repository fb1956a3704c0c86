// Removes what the build made; dependencies stay.
import { rmSync } from 'node:fs';
import { join } from 'node:path';

for (const name of ['build', 'dist', '.dist-next']) {
  rmSync(join(import.meta.dirname, '..', name), { recursive: true, force: true });
}
