#include "textflag.h"

// What the bytes of a vector are compared with.
DATA two<>+0(SB)/8, $0x0202020202020202
DATA two<>+8(SB)/8, $0x0202020202020202
GLOBL two<>(SB), RODATA|NOPTR, $16
DATA low<>+0(SB)/8, $0x2121212121212121
DATA low<>+8(SB)/8, $0x2121212121212121
GLOBL low<>(SB), RODATA|NOPTR, $16
DATA backslash<>+0(SB)/8, $0x5c5c5c5c5c5c5c5c
DATA backslash<>+8(SB)/8, $0x5c5c5c5c5c5c5c5c
GLOBL backslash<>(SB), RODATA|NOPTR, $16

// MARK reads the 32 bytes at SI+from into X0 and X1, and turns those that are not plain
// into 0xff, the others into 0: x is not plain if x^2 < 0x21 as signed bytes, which is so for
// controls, the quote, and all beyond ASCII, or if x is the backslash. X5 holds the twos,
// X6 the 0x21s, X7 the backslashes; X2 to X4 and X8 are written.
#define MARK(from) \
	MOVOU (SI)(from*1), X0   \
	MOVOU 16(SI)(from*1), X1 \
	MOVO X0, X2              \
	MOVO X1, X3              \
	PXOR X5, X2              \
	PXOR X5, X3              \
	MOVO X6, X4              \
	MOVO X6, X8              \
	PCMPGTB X2, X4           \
	PCMPGTB X3, X8           \
	PCMPEQB X7, X0           \
	PCMPEQB X7, X1           \
	POR X4, X0               \
	POR X8, X1

// GATHER makes one bit of each byte that MARK left, in CX; BX is written.
#define GATHER \
	PMOVMSKB X0, CX \
	PMOVMSKB X1, BX \
	SHLQ $16, BX    \
	ORQ BX, CX

// func skipPlain(doc []byte, j int) int
TEXT ·skipPlain(SB), NOSPLIT, $0-40
	MOVQ doc_base+0(FP), SI
	MOVQ doc_len+8(FP), DX
	MOVQ j+24(FP), AX
	MOVOU two<>(SB), X5
	MOVOU low<>(SB), X6
	MOVOU backslash<>(SB), X7
	SUBQ $32, DX // the last place to read from
	JLT words
	CMPQ AX, DX
	JGT rest

next:
	MARK(AX)
	MOVO X0, X2
	POR X1, X2
	PMOVMSKB X2, CX
	TESTL CX, CX
	JNE found
	ADDQ $32, AX
	CMPQ AX, DX
	JLE next

rest:
	// Fewer than 32 bytes are left: read the last 32, and forget those before AX. A bit
	// behind them stands for the end.
	MARK(DX)
	GATHER
	BTSQ $32, CX
	MOVQ CX, BX
	MOVQ AX, CX
	SUBQ DX, CX
	SHRQ CX, BX
	BSFQ BX, BX
	ADDQ BX, AX
	MOVQ AX, ret+32(FP)
	RET

words:
	JMP ·skipWords(SB)

found:
	GATHER
	BSFQ CX, CX
	ADDQ CX, AX
	MOVQ AX, ret+32(FP)
	RET
