/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * settings_rows - makes C of a settings.def
 *
 * Include it with one of these defined, then include the .def; it may be
 * included many times, and undoes its own macros first:
 *
 *	SETTINGS_MAKE_STRUCTS	the enums and struct conf_<section>
 *	SETTINGS_MAKE_TABLES	the tables of words and rows
 *
 * A .def has these rows:
 *
 *	CHOICES(enum)			a list of words begins; makes the enum
 *					and the table <enum>_words
 *	CHOICE(ATOM, "word")
 *	CHOICES_END(enum)
 *	WORDS(enum)			the same for an enum declared elsewhere
 *	WORD(ATOM, "word")
 *	WORDS_END(enum)
 *	SECTION(name, KIND, doc)	a section begins; KIND: TOP ONE MANY TITLED
 *					WITHIN
 *	SETTING(section, TYPE, name, default, flags, doc)
 *	SETTING_RANGE(section, TYPE, name, default, min, max, flags, doc)
 *	SETTING_PATH(section, enum, name, default, flags, doc)
 *	SETTING_CHOICE(section, enum, name, default, flags, doc)
 *	SETTING_SET(section, enum, name, default, flags, doc)
 *	SETTING_REF(section, target, name, flags, doc)
 *	SETTING_REFS(section, target, name, flags, doc)
 *	SETTING_REFS_OR(section, target, name, "none", flags, doc)
 *					a NULL among them is that word
 *	SETTING_INNER(section, name)	the section of that name, of the kind
 *					WITHIN, stands here; it comes before
 *	SECTION_END(name, KIND, check)
 *
 * Of SECTION(tls, TITLED, ...) come struct conf_tls, the table
 * conf_tls_section, and the functions conf_tls_all(s, &n) and
 * conf_tls_find(s, name); of a section that stands once: conf_limits(s); of
 * one within a pool: pool->health, never NULL.
 */
#undef CHOICES
#undef CHOICE
#undef CHOICES_END
#undef WORDS
#undef WORD
#undef WORDS_END
#undef SECTION
#undef SETTING
#undef SETTING_RANGE
#undef SETTING_PATH
#undef SETTING_CHOICE
#undef SETTING_SET
#undef SETTING_REF
#undef SETTING_REFS
#undef SETTING_REFS_OR
#undef SETTING_INNER
#undef SECTION_END

#ifndef SETTINGS_FIELDS
#define SETTINGS_FIELDS
/* The C field of each type, and its name. */
#define SETTINGS_FIELD_BOOL(f)		bool f;
#define SETTINGS_FIELD_UINT(f)		uint32_t f;
#define SETTINGS_FIELD_DURATION(f)	uint64_t f##_ms;
#define SETTINGS_FIELD_SIZE(f)		uint64_t f##_bytes;
#define SETTINGS_FIELD_STRING(f)	const char *f;
#define SETTINGS_FIELD_STRINGS(f)	struct settings_strings f;
#define SETTINGS_FIELD_FILE(f)		struct settings_file f;
#define SETTINGS_FIELD_SECRET(f)	struct settings_file f;
#define SETTINGS_FIELD_ADDRESS(f)	struct settings_address f;
#define SETTINGS_FIELD_ADDRESSES(f)	struct settings_addresses f;
#define SETTINGS_FIELD_NETWORKS(f)	struct settings_networks f;
#define SETTINGS_NAME_BOOL(f)		f
#define SETTINGS_NAME_UINT(f)		f
#define SETTINGS_NAME_DURATION(f)	f##_ms
#define SETTINGS_NAME_SIZE(f)		f##_bytes
#define SETTINGS_NAME_STRING(f)		f
#define SETTINGS_NAME_STRINGS(f)	f
#define SETTINGS_NAME_FILE(f)		f
#define SETTINGS_NAME_SECRET(f)		f
#define SETTINGS_NAME_ADDRESS(f)	f
#define SETTINGS_NAME_ADDRESSES(f)	f
#define SETTINGS_NAME_NETWORKS(f)	f

/* The functions that find a section's structs in a snapshot. */
#define SETTINGS_ACCESS_TOP(s)	SETTINGS_ACCESS_ONE(s)
#define SETTINGS_ACCESS_ONE(s) \
	static inline const struct conf_##s *conf_##s( \
	    const struct settings *snapshot) \
	{ \
		return settings_one(snapshot, &conf_##s##_section); \
	}
#define SETTINGS_ACCESS_WITHIN(s)
#define SETTINGS_ACCESS_MANY(s) \
	static inline const struct conf_##s *const *conf_##s##_all( \
	    const struct settings *snapshot, size_t *n_out) \
	{ \
		return (const struct conf_##s *const *)settings_all(snapshot, \
		    &conf_##s##_section, n_out); \
	}
#define SETTINGS_ACCESS_TITLED(s) \
	SETTINGS_ACCESS_MANY(s) \
	static inline const struct conf_##s *conf_##s##_find( \
	    const struct settings *snapshot, const char *title) \
	{ \
		return settings_find(snapshot, &conf_##s##_section, title); \
	}
#endif

#ifdef SETTINGS_MAKE_STRUCTS
#undef SETTINGS_MAKE_STRUCTS
#define CHOICES(e)		enum e {
#define CHOICE(atom, word)	atom,
#define CHOICES_END(e) \
	}; \
	extern const struct settings_choice e##_words[];
#define WORDS(e)
#define WORD(atom, word)
#define WORDS_END(e)
#define SECTION(s, kind, doc) \
	struct conf_##s { \
		const char *name, *where;	/* struct settings_head */
#define SETTING(s, type, f, preset, flags, doc)	SETTINGS_FIELD_##type(f)
#define SETTING_RANGE(s, type, f, preset, min, max, flags, doc) \
	SETTINGS_FIELD_##type(f)
#define SETTING_PATH(s, e, f, preset, flags, doc)	const char *f;
#define SETTING_CHOICE(s, e, f, preset, flags, doc)	enum e f;
#define SETTING_SET(s, e, f, preset, flags, doc)	unsigned f;
#define SETTING_REF(s, to, f, flags, doc)	const struct conf_##to *f;
#define SETTING_REFS(s, to, f, flags, doc) \
	struct { const struct conf_##to *const *v; size_t n, n_not; } f;
#define SETTING_REFS_OR(s, to, f, none, flags, doc) \
	SETTING_REFS(s, to, f, flags, doc)
#define SETTING_INNER(s, f)	const struct conf_##f *f;
#define SECTION_END(s, kind, check) \
	}; \
	extern const struct settings_section conf_##s##_section; \
	SETTINGS_ACCESS_##kind(s)
#endif

#ifdef SETTINGS_MAKE_TABLES
#undef SETTINGS_MAKE_TABLES
#define REQUIRED	SETTINGS_REQUIRED
#define FIXED		SETTINGS_FIXED
#define SYSTEM		SETTINGS_SYSTEM
#define NEGATABLE	SETTINGS_NEGATABLE
#define SRV		SETTINGS_SRV
#define MSECS(n)	UINT64_C(n)
#define SECS(n)		(UINT64_C(n) * 1000)
#define MINS(n)		(SECS(60) * (n))
#define HOURS(n)	(SECS(3600) * (n))
#define KIB(n)		(UINT64_C(n) * 1024)
#define MIB(n)		(KIB(1024) * (n))
#define CHOICES(e)		const struct settings_choice e##_words[] = {
#define CHOICE(atom, text)	{ text, atom },
#define CHOICES_END(e)		{ NULL, 0 } };
#define WORDS(e)		static CHOICES(e)
#define WORD(atom, text)	CHOICE(atom, text)
#define WORDS_END(e)		CHOICES_END(e)
#define SECTION(s, kind, text) \
	static const char doc_##s[] = text; \
	static const struct settings_row rows_##s[] = {
#define SETTING(s, type_, f, preset_, flags_, doc_) \
	SETTING_RANGE(s, type_, f, preset_, 0, 0, flags_, doc_)
#define SETTING_RANGE(s, type_, f, preset_, min_, max_, flags_, doc_) \
	{ .name = #f, .type = SETTINGS_##type_, \
	  .offset = offsetof(struct conf_##s, SETTINGS_NAME_##type_(f)), \
	  .preset = (preset_), .min = (min_), .max = (max_), \
	  .flags = (flags_), .doc = (doc_) },
#define SETTING_PATH(s, e, f, preset_, flags_, doc_) \
	{ .name = #f, .type = SETTINGS_PATH, \
	  .offset = offsetof(struct conf_##s, f), .preset = (preset_), \
	  .flags = (flags_), .choices = e##_words, .doc = (doc_) },
#define SETTING_CHOICE(s, e, f, preset_, flags_, doc_) \
	{ .name = #f, .type = SETTINGS_CHOICE, \
	  .offset = offsetof(struct conf_##s, f), .preset = (preset_), \
	  .flags = (flags_), .choices = e##_words, .doc = (doc_) },
#define SETTING_SET(s, e, f, preset_, flags_, doc_) \
	{ .name = #f, .type = SETTINGS_SET, \
	  .offset = offsetof(struct conf_##s, f), .preset = (preset_), \
	  .flags = (flags_), .choices = e##_words, .doc = (doc_) },
#define SETTING_REF(s, to, f, flags_, doc_) \
	{ .name = #f, .type = SETTINGS_REF, \
	  .offset = offsetof(struct conf_##s, f), .preset = "", \
	  .flags = (flags_), .target = #to, .doc = (doc_) },
#define SETTING_REFS(s, to, f, flags_, doc_) \
	SETTING_REFS_OR(s, to, f, NULL, flags_, doc_)
#define SETTING_REFS_OR(s, to, f, none_, flags_, doc_) \
	{ .name = #f, .type = SETTINGS_REFS, \
	  .offset = offsetof(struct conf_##s, f), .preset = "", \
	  .flags = (flags_), .target = #to, .none = (none_), \
	  .doc = (doc_) },
#define SETTING_INNER(s, f) \
	{ .name = #f, .type = SETTINGS_INNER, \
	  .offset = offsetof(struct conf_##s, f), .preset = "", \
	  .target = #f, .doc = doc_##f },
#define SECTION_END(s, kind_, check_) \
	}; \
	const struct settings_section conf_##s##_section = { \
		.name = #s, .kind = SETTINGS_##kind_, \
		.size = sizeof(struct conf_##s), .rows = rows_##s, \
		.n_rows = sizeof rows_##s / sizeof rows_##s[0], \
		.check = (check_), .doc = doc_##s };
#endif
