/*
 * A guest in one boot sector that shows whether it runs once and whether its disk is whole: each turn it counts
 * on, fills 384 KiB of memory with the number, writes the number into a sector of the first disk (number modulo
 * SECTORS, plus 1), says "tick NUMBER" in hexadecimal on the first serial port, and waits for some milliseconds.
 */
        .code16
        .set    SECTORS, 2048
        .set    WAIT_US, 5000
        .set    BUFFER_SEGMENT, 0x2000          # from 0x20000
        .set    BUFFER_END, 0x8000
        .set    COM1, 0x3f8

        .globl  start
start:  xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld

turn:   incl    number
        movw    $BUFFER_SEGMENT, %bx
fill:   movw    %bx, %es
        xorw    %di, %di
        movl    number, %eax
        movw    $0x4000, %cx
        rep     stosl
        addw    $0x1000, %bx
        cmpw    $BUFFER_END, %bx
        jb      fill

        movl    number, %eax
        andl    $(SECTORS - 1), %eax
        incl    %eax
        movl    %eax, sector
        movw    $packet, %si
        movw    $0x4300, %ax                    # extended write, no verification
        movb    $0x80, %dl
        int     $0x13
        jc      broken

        movw    $word, %si
        call    say
        movl    number, %ebx
        movw    $8, %cx
digit:  roll    $4, %ebx
        movb    %bl, %al
        andb    $15, %al
        cmpb    $10, %al
        jb      small
        addb    $('a' - '0' - 10), %al
small:  addb    $'0', %al
        call    put
        loop    digit
        movw    $line, %si
        call    say

        movb    $0x86, %ah                      # wait CX:DX microseconds
        xorw    %cx, %cx
        movw    $WAIT_US, %dx
        int     $0x15
        jmp     turn

broken: movw    $fault, %si
        call    say
        jmp     turn

say:    lodsb
        testb   %al, %al
        jz      said
        call    put
        jmp     say
said:   ret

put:    movb    %al, %ah
        movw    $(COM1 + 5), %dx
full:   inb     %dx, %al
        testb   $0x20, %al
        jz      full
        movb    %ah, %al
        movw    $COM1, %dx
        outb    %al, %dx
        ret

number: .long   0
word:   .asciz  "tick "
line:   .asciz  "\r\n"
fault:  .asciz  "the disk refuses\r\n"
        .balign 4
packet: .byte   16, 0
        .word   1, 0, BUFFER_SEGMENT            # sectors, offset, segment
sector: .quad   0

        .org    510
        .word   0xaa55
