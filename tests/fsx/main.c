/* SPDX-License-Identifier: Apache-2.0 */
#include "fsx.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOURCE_SIZE ((UINT64_C(11) << 20) + 123)

static const struct {
	const char *name;
	bool (*run)(struct fsx *f);
	unsigned weight; /* how often, unless --mix says otherwise */
} operations[OP_COUNT] = {
    [OP_READ] = {"read", op_read, 220},
    [OP_WRITE] = {"write", op_write, 240},
    [OP_APPEND] = {"append", op_append, 50},
    [OP_FILL] = {"fill", op_fill, 2},
    [OP_MAPREAD] = {"mapread", op_mapread, 60},
    [OP_MAPWRITE] = {"mapwrite", op_mapwrite, 40},
    [OP_MAPSYNC] = {"mapsync", op_mapsync, 2},
    [OP_TRUNCATE] = {"truncate", op_truncate, 50},
    [OP_TRUNCNAME] = {"truncname", op_truncname, 15},
    [OP_ALLOCATE] = {"allocate", op_allocate, 20},
    [OP_KEEP] = {"keep", op_keep, 15},
    [OP_PUNCH] = {"punch", op_punch, 40},
    [OP_ZERO] = {"zero", op_zero, 40},
    [OP_SEEK] = {"seek", op_seek, 60},
    [OP_COPY] = {"copy", op_copy, 15},
    [OP_COPYFROM] = {"copyfrom", op_copyfrom, 6},
    [OP_STAT] = {"stat", op_stat, 100},
    [OP_FSYNC] = {"fsync", op_fsync, 3},
    [OP_REOPEN] = {"reopen", op_reopen, 6},
    [OP_RECREATE] = {"recreate", op_recreate, 2},
    [OP_RENAME] = {"rename", op_rename, 1},
};

static const char usage_text[] =
    "fsx [OPTION]... FILE: random operations on FILE, which must not exist; 0 if all was right\n"
    "  --seed N, --ops N    what to play (1, 1000)\n"
    "  --max-size N         of the file, in bytes (64 MiB); --part N, --block N: edges to look at\n"
    "  --handles N          1 or 2 at once\n"
    "  --mix OP=W,...       weights of operations; 0 switches one off; all=W before others\n"
    "  --fresh              an existing file is opened for writing with O_TRUNC only\n"
    "  --ask                at each publication: 'check STEP NAME SIZE WHY', and waits for 'ok'\n"
    "  --model FILE         keeps the expected contents there, for the driver\n"
    "  --trail N            remembers that many operations (200); --trace: prints all to stderr\n"
    "  --plant STEP:HOW     spoils the file after a step: flip, cut, grow\n";

void fail_at(struct fsx *f, uint64_t offset, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "FAILED in step %llu of seed %llu: ", (unsigned long long)f->step,
		(unsigned long long)f->set.seed);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	trail_print(&f->trail, offset);
	exit(1);
}

_Noreturn static void usage(void)
{
	fputs(usage_text, stderr);
	fputs("operations:", stderr);
	for (unsigned i = 0; i < OP_COUNT; i++)
		fprintf(stderr, " %s=%u", operations[i].name, operations[i].weight);
	fputs("\n", stderr);
	exit(2);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno != 0 || end == text || *end != '\0')
		errx(2, "not a number: %s", text);
	return n;
}

static void set_weight(struct settings *set, const char *name, unsigned weight)
{
	bool known = strcmp(name, "all") == 0;

	for (unsigned i = 0; i < OP_COUNT; i++)
		if (strcmp(name, operations[i].name) == 0 || strcmp(name, "all") == 0) {
			set->weights[i] = weight;
			known = true;
		}
	if (!known)
		errx(2, "no such operation: %s", name);
}

static void set_mix(struct settings *set, char *text)
{
	for (char *word = strtok(text, ","); word != NULL; word = strtok(NULL, ",")) {
		char *equals = strchr(word, '=');

		if (equals == NULL)
			errx(2, "--mix: %s is not OP=WEIGHT", word);
		*equals = '\0';
		set_weight(set, word, (unsigned)number(equals + 1));
	}
}

static void set_plant(struct settings *set, char *text)
{
	char *colon = strchr(text, ':');

	if (colon == NULL)
		usage();
	*colon = '\0';
	set->plant_step = number(text);
	set->plant = colon + 1;
	if (strcmp(set->plant, "flip") != 0 && strcmp(set->plant, "cut") != 0 &&
	    strcmp(set->plant, "grow") != 0)
		errx(2, "--plant: flip, cut or grow, not %s", set->plant);
}

static void set_one(struct fsx *f, int option, char *value)
{
	struct settings *set = &f->set;

	switch (option) {
	case 's':
		set->seed = number(value);
		break;
	case 'n':
		set->steps = number(value);
		break;
	case 'M':
		set->max_size = number(value);
		break;
	case 'p':
		set->part = number(value);
		break;
	case 'b':
		set->block = number(value);
		break;
	case 'h':
		set->handles = (unsigned)number(value);
		break;
	case 'm':
		set_mix(set, value);
		break;
	case 'o':
		set->model = value;
		break;
	case 't':
		f->trail.capacity = (unsigned)number(value);
		break;
	case 'P':
		set_plant(set, value);
		break;
	default:
		usage();
	}
}

static void parse(struct fsx *f, int argc, char **argv)
{
	static int fresh, ask, trace;
	static const struct option options[] = {
	    {"seed", required_argument, NULL, 's'},	{"ops", required_argument, NULL, 'n'},
	    {"max-size", required_argument, NULL, 'M'}, {"part", required_argument, NULL, 'p'},
	    {"block", required_argument, NULL, 'b'},	{"handles", required_argument, NULL, 'h'},
	    {"mix", required_argument, NULL, 'm'},	{"model", required_argument, NULL, 'o'},
	    {"trail", required_argument, NULL, 't'},	{"plant", required_argument, NULL, 'P'},
	    {"fresh", no_argument, &fresh, 1},		{"ask", no_argument, &ask, 1},
	    {"trace", no_argument, &trace, 1},		{NULL, 0, NULL, 0}};
	int option;

	f->set = (struct settings){.seed = 1,
				   .steps = 1000,
				   .max_size = UINT64_C(64) << 20,
				   .part = UINT64_C(5) << 20,
				   .block = UINT64_C(128) << 10,
				   .handles = 1};
	f->trail.capacity = 200;
	for (unsigned i = 0; i < OP_COUNT; i++)
		f->set.weights[i] = operations[i].weight;
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
		if (option != 0)
			set_one(f, option, optarg);
	f->set.fresh = fresh != 0;
	f->set.ask = ask != 0;
	f->set.trace = trace != 0;
	if (optind != argc - 1 || f->set.handles < 1 || f->set.handles > HANDLES_MAX ||
	    f->trail.capacity == 0 || f->set.part == 0 || f->set.block == 0 ||
	    f->set.max_size < 4ul * PAGE || f->set.max_size > UINT64_C(128) << 20)
		usage();
	f->set.path = argv[optind];
}

static char *name_of(const char *path, const char *ending)
{
	char *name;

	if (asprintf(&name, "%s%s", path, ending) < 0)
		err(2, "a name");
	return name;
}

static void begin(struct fsx *f)
{
	f->chance.state = f->set.seed * UINT64_C(0xd1342543de82ef95);
	f->trail.entries = calloc(f->trail.capacity, sizeof(*f->trail.entries));
	f->scratch = malloc(f->set.max_size);
	if (f->trail.entries == NULL || f->scratch == NULL)
		err(2, "memory");
	model_init(&f->model, f->set.model, f->set.max_size, SOURCE_SIZE);
	f->path = name_of(f->set.path, "");
	f->other_path = name_of(f->set.path, ".renamed");
	f->source_path = name_of(f->set.path, ".source");
	for (unsigned i = 0; i < HANDLES_MAX; i++)
		f->handles[i].fd = -1;
	if (access(f->path, F_OK) == 0)
		errx(2, "%s exists", f->path);
	if (f->set.weights[OP_COPYFROM] > 0)
		make_source(f);
	make_file(f);
}

/* One that is possible now; with nothing but reading handles left that may take some tries. */
static void one_step(struct fsx *f, unsigned total)
{
	for (;;) {
		uint64_t ticket = chance_below(&f->chance, total);
		unsigned i = 0;

		while (ticket >= f->set.weights[i])
			ticket -= f->set.weights[i++];
		if (operations[i].run(f)) {
			f->done[i]++;
			return;
		}
	}
}

static void play(struct fsx *f)
{
	unsigned total = 0;
	uint64_t traced = 0;

	for (unsigned i = 0; i < OP_COUNT; i++)
		total += f->set.weights[i];
	if (f->set.weights[OP_REOPEN] == 0 && f->set.weights[OP_RECREATE] == 0)
		errx(2, "--mix: without reopen and recreate it may get stuck");
	for (f->step = 1; f->step <= f->set.steps; f->step++) {
		one_step(f, total);
		compare_size(f);
		for (; f->set.trace && traced < f->trail.count; traced++)
			fprintf(stderr, "%s\n", f->trail.entries[traced % f->trail.capacity].text);
		if (f->step == f->set.plant_step)
			plant(f);
	}
}

static void end(struct fsx *f)
{
	close_all(f);
	published(f, "the last close");
	compare_whole(f);
	printf("done %llu checks %llu", (unsigned long long)f->set.steps,
	       (unsigned long long)f->checks);
	for (unsigned i = 0; i < OP_COUNT; i++)
		printf(" %s %llu", operations[i].name, (unsigned long long)f->done[i]);
	printf("\n");
	free(f->path);
	free(f->other_path);
	free(f->source_path);
	free(f->scratch);
	free(f->trail.entries);
}

int main(int argc, char **argv)
{
	static struct fsx f;

	parse(&f, argc, argv);
	begin(&f);
	play(&f);
	end(&f);
	return 0;
}
