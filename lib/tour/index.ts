/** The tour: the examples by which transformers are explained, computed by this runtime. */
import { additiveAttention } from './additive_attention.js';
import { dialogue } from './dialogue.js';
import { mole } from './mole.js';
import { selfAttention } from './self_attention.js';
import { sinusoids } from './sinusoids.js';
import type { Stop } from './stop.js';
import { temperature } from './temperature.js';

/** In the order in which they are told. */
export const stops: readonly Stop[] = [selfAttention, sinusoids, additiveAttention, mole, temperature, dialogue];

export type { Stop } from './stop.js';
