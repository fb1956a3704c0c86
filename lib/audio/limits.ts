/** Longest audio that is read: 2 hours, 460 MB of samples at 16 kHz. Counted while decoding, whatever a header says. */
export const maxAudioSeconds = 7200;
/** Sample rates in Hz that are read. */
export const minSampleRate = 1_000;
export const maxSampleRate = 384_000;
/** Channels that are averaged. */
export const maxChannels = 8;
