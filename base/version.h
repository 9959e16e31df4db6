/* The version, as meson.build names it. */
#ifndef LORY_BASE_VERSION_H
#define LORY_BASE_VERSION_H

#ifndef LORY_VERSION
#define LORY_VERSION "0.1.0"
#endif

#endif
