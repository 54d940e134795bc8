/* toml++ behind a small C visitor: path, kind, value, line, column. */
#ifndef SLUICE_CTOML_H
#define SLUICE_CTOML_H

#endif
