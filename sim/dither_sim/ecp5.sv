// Cells of an ECP5, as the gateware instantiates and as nextpnr places them, in the modes in which they do; other modes end
// the simulation. After Lattice's data sheet FPGA-DS-02012 (slices), its technical notes 1264 (memory) and 1267 (sysDSP),
// and Yosys' models of carry cells and of what slices are made of.

// A word that is read by port B while port A writes it comes out complemented: on the chip it would be anything. The same
// goes for what port A shows while it writes, unless the old word is asked for.
module DP16KD #(
    parameter integer DATA_WIDTH_A = 18, DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG", REGMODE_B = "OUTREG", CSDECODE_A = "0b000", CSDECODE_B = "0b000", CLKAMUX = "CLKA",
    parameter CLKBMUX = "CLKB", RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", WRITEMODE_A = "NORMAL",
    parameter WRITEMODE_B = "NORMAL", GSR = "DISABLED",
    parameter [20479:0] INITVAL = 0  // all parameters INITVAL_xx, the last one highest
) (
    input CLKA, CLKB, CEA, CEB, OCEA, OCEB, WEA, WEB, RSTA, RSTB,
    input CSA0, CSA1, CSA2, CSB0, CSB1, CSB2,
    input ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11, ADA12, ADA13,
    input ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13,
    input DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10, DIA11, DIA12, DIA13, DIA14, DIA15, DIA16, DIA17,
    input DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7, DIB8, DIB9, DIB10, DIB11, DIB12, DIB13, DIB14, DIB15, DIB16, DIB17,
    output DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8, DOA9, DOA10, DOA11, DOA12, DOA13, DOA14, DOA15, DOA16, DOA17,
    output DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11, DOB12, DOB13, DOB14, DOB15, DOB16, DOB17
);
    wire [13:0] a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [17:0] data = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2,
            DIA1, DIA0};
    wire [17:0] upper = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3,
            DIB2, DIB1, DIB0};
    logic [17:0] words[1024];
    logic [17:0] read_a = 0, read_b = 0, register_a = 0, register_b = 0;
    initial begin
        if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000" || WRITEMODE_A == "WRITETHROUGH" || CLKAMUX != "CLKA"
            || CLKBMUX != "CLKB" || GSR != "DISABLED"
            || WIDE && (DATA_WIDTH_B != 36 || REGMODE_A != "NOREG" || REGMODE_B != "NOREG"))
            $fatal(1, "DP16KD: no model of this mode");
        for (int i = 0; i < 1024; i++) words[i] = INITVAL[i/16*320+i%16*20+:18];
    end
    // Of 36 bits, the upper half of a word stands behind the lower; port A writes both, port B reads both, and A's outputs
    // show the upper one.
    localparam bit WIDE = DATA_WIDTH_A == 36;
    localparam integer WIDTH_A = WIDE ? 18 : DATA_WIDTH_A, WIDTH_B = WIDE ? 18 : DATA_WIDTH_B;
    wire [9:0] word_a = WIDE ? {a[13:5], 1'b0} : a[13:4], word_b = WIDE ? {b[13:5], 1'b0} : b[13:4];
    logic [17:0] read_upper = 0;
    // The place of a narrow word within one of 18 bits.
    function automatic [4:0] place(int width, logic [3:0] low);
        place = width == 18 ? 5'd0 : (low[3] ? 5'd9 : 5'd0) + (width < 9 && low[2] ? 5'd4 : 5'd0)
            + (width < 4 && low[1] ? 5'd2 : 5'd0) + (width < 2 && low[0] ? 5'd1 : 5'd0);
    endfunction
    wire asked_a = CEA && {CSA2, CSA1, CSA0} == 0, asked_b = CEB && {CSB2, CSB1, CSB0} == 0;
    wire write = asked_a && (WIDE ? a[3:0] == 4'b1111 : WEA && (DATA_WIDTH_A != 18 || a[1:0] == 2'b11));
    wire [WIDTH_A-1:0] old_a = words[word_a][place(WIDTH_A, a[3:0])+:WIDTH_A];
    wire [WIDTH_B-1:0] old_b = words[word_b][place(WIDTH_B, b[3:0])+:WIDTH_B];
    // Port B's word and port A's have bits in common.
    localparam integer WIDER = WIDTH_A > WIDTH_B ? WIDTH_A : WIDTH_B;
    wire meet = word_a == word_b && place(WIDER, a[3:0]) == place(WIDER, b[3:0]);
    always @(posedge CLKA) begin
        if (write) words[word_a][place(WIDTH_A, a[3:0])+:WIDTH_A] <= data[WIDTH_A-1:0];
        if (write && WIDE) words[word_a|1] <= upper;
        if (asked_a) read_a <= 18'(WEA && WRITEMODE_A == "NORMAL" ? ~old_a : old_a);
        if (OCEA) register_a <= read_a;
        if (asked_a && (WIDE ? a[3:0] != 4'b1111 : DATA_WIDTH_A == 18 && WEA && ^a[1:0]))
            $fatal(1, "DP16KD: no model of byte enables");
        if (RSTA) $fatal(1, "DP16KD: no model of resets");
    end
    always @(posedge CLKB) begin
        if (asked_b) read_b <= 18'(write && meet ? ~old_b : old_b);
        if (asked_b) read_upper <= write && meet ? ~words[word_b|1] : words[word_b|1];
        if (OCEB) register_b <= read_b;
        if (RSTB || !WIDE && WEB) $fatal(1, "DP16KD: no model of resets, nor of writes by port B");
    end
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
            DOA1, DOA0} =
        WIDE ? read_upper : REGMODE_A == "OUTREG" ? register_a : read_a;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
            DOB1, DOB0} =
        REGMODE_B == "OUTREG" ? register_b : read_b;
endmodule

// As nextpnr packs it: its halves at the two ports of a DP16KD, the lower half that is read at port B.
module PDPW16KD #(
    parameter integer DATA_WIDTH_W = 36, DATA_WIDTH_R = 36,
    parameter REGMODE = "NOREG", CSDECODE_W = "0b000", CSDECODE_R = "0b000", CLKWMUX = "CLKW", CLKRMUX = "CLKR",
    parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", GSR = "DISABLED"
) (
    input CLKW, CLKR, CEW, CER, OCER, RST, CSW0, CSW1, CSW2, CSR0, CSR1, CSR2, BE0, BE1, BE2, BE3,
    input ADW0, ADW1, ADW2, ADW3, ADW4, ADW5, ADW6, ADW7, ADW8,
    input ADR0, ADR1, ADR2, ADR3, ADR4, ADR5, ADR6, ADR7, ADR8, ADR9, ADR10, ADR11, ADR12, ADR13,
    input DI0, DI1, DI2, DI3, DI4, DI5, DI6, DI7, DI8, DI9, DI10, DI11, DI12, DI13, DI14, DI15, DI16, DI17, DI18,
    DI19, DI20, DI21, DI22, DI23, DI24, DI25, DI26, DI27, DI28, DI29, DI30, DI31, DI32, DI33, DI34, DI35,
    output DO0, DO1, DO2, DO3, DO4, DO5, DO6, DO7, DO8, DO9, DO10, DO11, DO12, DO13, DO14, DO15, DO16, DO17, DO18,
    DO19, DO20, DO21, DO22, DO23, DO24, DO25, DO26, DO27, DO28, DO29, DO30, DO31, DO32, DO33, DO34, DO35
);
    initial if (DATA_WIDTH_W != 36 || CLKWMUX != "CLKW" || CLKRMUX != "CLKR") $fatal(1, "PDPW16KD: no model of this mode");
    DP16KD #(
        .DATA_WIDTH_A(36), .DATA_WIDTH_B(DATA_WIDTH_R), .REGMODE_B(REGMODE), .CSDECODE_A(CSDECODE_W),
        .CSDECODE_B(CSDECODE_R), .GSR(GSR)
    ) halves (
        .CLKA(CLKW), .CLKB(CLKR), .CEA(CEW), .CEB(CER), .OCEA(1'b0), .OCEB(OCER), .WEA(1'b1), .WEB(1'b0), .RSTA(RST),
        .RSTB(RST), .CSA0(CSW0), .CSA1(CSW1), .CSA2(CSW2), .CSB0(CSR0), .CSB1(CSR1), .CSB2(CSR2), .ADA0(BE0),
        .ADA1(BE1), .ADA2(BE2), .ADA3(BE3), .ADA4(1'b0), .ADA5(ADW0), .ADA6(ADW1), .ADA7(ADW2), .ADA8(ADW3),
        .ADA9(ADW4), .ADA10(ADW5), .ADA11(ADW6), .ADA12(ADW7), .ADA13(ADW8), .ADB0(ADR0), .ADB1(ADR1), .ADB2(ADR2),
        .ADB3(ADR3), .ADB4(ADR4), .ADB5(ADR5), .ADB6(ADR6), .ADB7(ADR7), .ADB8(ADR8), .ADB9(ADR9), .ADB10(ADR10),
        .ADB11(ADR11), .ADB12(ADR12), .ADB13(ADR13), .DIA0(DI0), .DIA1(DI1), .DIA2(DI2), .DIA3(DI3), .DIA4(DI4),
        .DIA5(DI5), .DIA6(DI6), .DIA7(DI7), .DIA8(DI8), .DIA9(DI9), .DIA10(DI10), .DIA11(DI11), .DIA12(DI12),
        .DIA13(DI13), .DIA14(DI14), .DIA15(DI15), .DIA16(DI16), .DIA17(DI17), .DIB0(DI18), .DIB1(DI19), .DIB2(DI20),
        .DIB3(DI21), .DIB4(DI22), .DIB5(DI23), .DIB6(DI24), .DIB7(DI25), .DIB8(DI26), .DIB9(DI27), .DIB10(DI28),
        .DIB11(DI29), .DIB12(DI30), .DIB13(DI31), .DIB14(DI32), .DIB15(DI33), .DIB16(DI34), .DIB17(DI35), .DOB0(DO0),
        .DOB1(DO1), .DOB2(DO2), .DOB3(DO3), .DOB4(DO4), .DOB5(DO5), .DOB6(DO6), .DOB7(DO7), .DOB8(DO8), .DOB9(DO9),
        .DOB10(DO10), .DOB11(DO11), .DOB12(DO12), .DOB13(DO13), .DOB14(DO14), .DOB15(DO15), .DOB16(DO16),
        .DOB17(DO17), .DOA0(DO18), .DOA1(DO19), .DOA2(DO20), .DOA3(DO21), .DOA4(DO22), .DOA5(DO23), .DOA6(DO24),
        .DOA7(DO25), .DOA8(DO26), .DOA9(DO27), .DOA10(DO28), .DOA11(DO29), .DOA12(DO30), .DOA13(DO31), .DOA14(DO32),
        .DOA15(DO33), .DOA16(DO34), .DOA17(DO35)
    );
endmodule

module MULT18X18D #(
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0",
    parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_PIPELINE_CLK = "NONE", GSR = "DISABLED",
    parameter RESETMODE = "SYNC"
) (
    input A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
    input B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
    input C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, C14, C15, C16, C17,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
    output P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17,
    output P18, P19, P20, P21, P22, P23, P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);
    wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    logic [18:0] a_register = 0, b_register = 0;
    logic [35:0] product = 0;
    initial begin
        if (REG_INPUTA_CLK != "CLK0" || REG_INPUTB_CLK != "CLK0" || REG_OUTPUT_CLK != "CLK0" || REG_PIPELINE_CLK != "NONE"
            || GSR != "DISABLED")
            $fatal(1, "MULT18X18D: no model of this mode");
    end
    function automatic logic enable(logic [23:0] name);
        enable = name == "CE0" ? CE0 : name == "CE1" ? CE1 : name == "CE2" ? CE2 : CE3;
    endfunction
    always @(posedge CLK0) begin
        if (enable(REG_INPUTA_CE)) a_register <= {SIGNEDA & a[17], a};
        if (enable(REG_INPUTB_CE)) b_register <= {SIGNEDB & b[17], b};
        if (enable(REG_OUTPUT_CE)) product <= 36'($signed(a_register) * $signed(b_register));
        // All registers have the first reset; where nothing is connected to the others, they are high.
        if (RST0 || SOURCEA || SOURCEB) $fatal(1, "MULT18X18D: no model of this mode");
    end
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14,
            P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = product;
endmodule

module CCU2C #(
    parameter [15:0] INIT0 = 0, INIT1 = 0,
    parameter INJECT1_0 = "YES", INJECT1_1 = "YES"
) (
    input CIN, A0, B0, C0, D0, A1, B1, C1, D1,
    output S0, S1, COUT
);
    initial if (INJECT1_0 != "NO" || INJECT1_1 != "NO") $fatal(1, "CCU2C: no model of this mode");
    // A carry goes on where the LUT gives 1, else begins with what its lowest four bits give.
    wire propagate0 = INIT0[{D0, C0, B0, A0}], propagate1 = INIT1[{D1, C1, B1, A1}];
    wire between = propagate0 ? CIN : INIT0[{2'b00, B0, A0}];
    assign S0 = propagate0 ^ CIN;
    assign S1 = propagate1 ^ between;
    assign COUT = propagate1 ? between : INIT1[{2'b00, B1, A1}];
endmodule

// A LUT of a slice, as it is placed: logic, half a carry cell (CCU2), or 16 bits of memory (DPRAM); with the multiplexer
// behind it, between two LUTs (F, F1) or between two of these (FXA, FXB).
module TRELLIS_COMB #(
    parameter MODE = "LOGIC", CCU2_INJECT1 = "NO",
    parameter [15:0] INITVAL = 0,
    parameter [0:0] WIDE = 0  // whether FXA and FXB are connected
) (
    input A, B, C, D, M, F1, FXA, FXB, FCI, DI0, DI1, WD, WAD0, WAD1, WAD2, WAD3, WRE, WCK,
    output F, OFX, FCO
);
    wire table_value;
    LUT4 #(.INIT(INITVAL)) lut (.A(A), .B(B), .C(C), .D(D), .Z(table_value));
    generate
        if (MODE == "DPRAM") begin : g_memory
            initial if (INITVAL != 0) $fatal(1, "TRELLIS_COMB: no model of this mode");
            logic [15:0] words = 0;
            always @(posedge WCK) if (WRE) words[{WAD3, WAD2, WAD1, WAD0}] <= WD;
            assign F = words[{A, C, B, D}];
            assign FCO = 0;
        end else if (MODE == "CCU2") begin : g_carry
            // A carry goes on where the LUT gives 1, else begins with what its lowest four bits give.
            localparam [3:0] BEGINS = CCU2_INJECT1 == "YES" ? 4'b0 : INITVAL[3:0];
            assign F = table_value ^ (CCU2_INJECT1 == "YES" ? 1'b0 : FCI);
            assign FCO = table_value ? FCI : B ? (A ? BEGINS[3] : BEGINS[2]) : (A ? BEGINS[1] : BEGINS[0]);
        end else begin : g_logic
            assign F = table_value;
            assign FCO = 0;
        end
        if (WIDE) begin : g_wide
            assign OFX = M ? FXB : FXA;
        end else begin : g_narrow
            assign OFX = M ? F1 : table_value;
        end
    endgenerate
endmodule

module LUT4 #(
    parameter [15:0] INIT = 0
) (
    input A, B, C, D,
    output Z
);
    // One expression, which folds: inputs that the table ignores make no loops.
    assign Z = D ? (C ? (B ? (A ? INIT[15] : INIT[14]) : (A ? INIT[13] : INIT[12])) : (B ? (A ? INIT[11] : INIT[10]) : (A ? INIT[9] : INIT[8])))
        : (C ? (B ? (A ? INIT[7] : INIT[6]) : (A ? INIT[5] : INIT[4])) : (B ? (A ? INIT[3] : INIT[2]) : (A ? INIT[1] : INIT[0])));
endmodule

// A flip-flop of a slice. It starts as its reset leaves it.
module TRELLIS_FF #(
    parameter SD = "0", REGSET = "RESET", SRMODE = "LSR_OVER_CE", GSR = "DISABLED"
) (
    input CLK, LSR, CE, DI, M,
    output Q
);
    initial if (GSR != "DISABLED" || SRMODE == "CE_OVER_LSR") $fatal(1, "TRELLIS_FF: no model of this mode");
    wire next = SD == "1" ? DI : M;
    logic register = REGSET == "SET";
    generate
        if (SRMODE == "ASYNC") begin : g_asynchronous
            always @(posedge CLK or posedge LSR)
                if (LSR) register <= REGSET == "SET";
                else if (CE) register <= next;
        end else begin : g_synchronous
            always @(posedge CLK)
                if (LSR) register <= REGSET == "SET";
                else if (CE) register <= next;
        end
    endgenerate
    assign Q = register;
endmodule

// Leads the inputs of a slice to the memories of its neighbours.
module TRELLIS_RAMW (
    input A0, B0, C0, D0, A1, B1, C1, D1,
    output WADO0, WADO1, WADO2, WADO3, WDO0, WDO1, WDO2, WDO3
);
    assign {WADO3, WADO2, WADO1, WADO0} = {A0, C0, B0, D0};
    assign {WDO3, WDO2, WDO1, WDO0} = {B1, D1, A1, C1};
endmodule
