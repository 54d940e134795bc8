#include <pcap/pcap.h>
#include <stdio_ext.h>

// A stream that one thread alone reads needs no lock for each of libpcap's small reads.
static inline void sluice_stream_without_locks(FILE *stream) { __fsetlocking(stream, FSETLOCKING_BYCALLER); }
