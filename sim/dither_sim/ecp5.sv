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
    logic [17:0] words[1024];
    logic [17:0] read_a = 0, read_b = 0, register_a = 0, register_b = 0;
    initial begin
        if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000" || WRITEMODE_A == "WRITETHROUGH" || CLKAMUX != "CLKA"
            || CLKBMUX != "CLKB" || GSR != "DISABLED")
            $fatal(1, "DP16KD: no model of this mode");
        for (int i = 0; i < 1024; i++) words[i] = INITVAL[i/16*320+i%16*20+:18];
    end
    // The place of a narrow word within one of 18 bits.
    function automatic [4:0] place(int width, logic [3:0] low);
        place = width == 18 ? 5'd0 : (low[3] ? 5'd9 : 5'd0) + (width < 9 && low[2] ? 5'd4 : 5'd0)
            + (width < 4 && low[1] ? 5'd2 : 5'd0) + (width < 2 && low[0] ? 5'd1 : 5'd0);
    endfunction
    wire asked_a = CEA && {CSA2, CSA1, CSA0} == 0, asked_b = CEB && {CSB2, CSB1, CSB0} == 0;
    wire write = asked_a && WEA && (DATA_WIDTH_A != 18 || a[1:0] == 2'b11);
    wire [DATA_WIDTH_A-1:0] old_a = words[a[13:4]][place(DATA_WIDTH_A, a[3:0])+:DATA_WIDTH_A];
    wire [DATA_WIDTH_B-1:0] old_b = words[b[13:4]][place(DATA_WIDTH_B, b[3:0])+:DATA_WIDTH_B];
    // Port B's word and port A's have bits in common.
    localparam integer WIDER = DATA_WIDTH_A > DATA_WIDTH_B ? DATA_WIDTH_A : DATA_WIDTH_B;
    wire meet = a[13:4] == b[13:4] && place(WIDER, a[3:0]) == place(WIDER, b[3:0]);
    always @(posedge CLKA) begin
        if (write) words[a[13:4]][place(DATA_WIDTH_A, a[3:0])+:DATA_WIDTH_A] <= data[DATA_WIDTH_A-1:0];
        if (asked_a) read_a <= 18'(WEA && WRITEMODE_A == "NORMAL" ? ~old_a : old_a);
        if (OCEA) register_a <= read_a;
        if (DATA_WIDTH_A == 18 && asked_a && WEA && ^a[1:0]) $fatal(1, "DP16KD: no model of byte enables");
        if (RSTA) $fatal(1, "DP16KD: no model of resets");
    end
    always @(posedge CLKB) begin
        if (asked_b) read_b <= 18'(write && meet ? ~old_b : old_b);
        if (OCEB) register_b <= read_b;
        if (RSTB || WEB) $fatal(1, "DP16KD: no model of resets, nor of writes by port B");
    end
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
            DOA1, DOA0} =
        REGMODE_A == "OUTREG" ? register_a : read_a;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
            DOB1, DOB0} =
        REGMODE_B == "OUTREG" ? register_b : read_b;
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
