// The cells of an ECP5 that the gateware instantiates, in the modes in which it does; other modes end the simulation.
// After Lattice's technical notes 1264 (memory) and 1267 (sysDSP), and Yosys' model of the carry cell.

// A word that is read while it is written comes out complemented: on the chip it would be anything.
module DP16KD #(
    parameter integer DATA_WIDTH_A = 18, DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG", REGMODE_B = "OUTREG", CSDECODE_A = "0b000", CSDECODE_B = "0b000", CLKAMUX = "CLKA",
    parameter CLKBMUX = "CLKB", RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", WRITEMODE_A = "NORMAL",
    parameter WRITEMODE_B = "NORMAL", GSR = "DISABLED"
) (
    input CLKA, CLKB, CEA, CEB, OCEA, OCEB, WEA, WEB, RSTA, RSTB,
    input CSA0, CSA1, CSA2, CSB0, CSB1, CSB2,
    input ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11, ADA12, ADA13,
    input ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13,
    input DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10, DIA11, DIA12, DIA13, DIA14, DIA15, DIA16,
    input DIA17,
    input DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7, DIB8, DIB9, DIB10, DIB11, DIB12, DIB13, DIB14, DIB15, DIB16,
    input DIB17,
    output DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11, DOB12, DOB13, DOB14, DOB15, DOB16,
    output DOB17
);
    localparam integer SHIFT = DATA_WIDTH_A == 18 ? 4 : DATA_WIDTH_A == 9 ? 3 : DATA_WIDTH_A == 4 ? 2 : DATA_WIDTH_A - 1;
    wire [13:0] write_addr = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] read_addr = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [17:0] data = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3,
                        DIA2, DIA1, DIA0};
    logic [DATA_WIDTH_A-1:0] words[1<<(14-SHIFT)];
    logic [DATA_WIDTH_A-1:0] read;
    logic [17:0] register = 0;
    initial begin
        if (DATA_WIDTH_A != DATA_WIDTH_B || REGMODE_A != "NOREG" || REGMODE_B != "OUTREG" || CSDECODE_A != "0b000"
            || CSDECODE_B != "0b000" || WRITEMODE_A != "NORMAL" || WRITEMODE_B != "NORMAL" || CLKAMUX != "CLKA"
            || CLKBMUX != "CLKB" || GSR != "DISABLED")
            $fatal(1, "DP16KD: no model of this mode");
    end
    wire write = CEA && WEA && {CSA2, CSA1, CSA0} == 0 && (DATA_WIDTH_A != 18 || write_addr[1:0] == 2'b11);
    always @(posedge CLKA) begin
        if (write) words[write_addr[13:SHIFT]] <= data[DATA_WIDTH_A-1:0];
        if (DATA_WIDTH_A == 18 && CEA && WEA && ^write_addr[1:0]) $fatal(1, "DP16KD: no model of byte enables");
    end
    always @(posedge CLKB) begin
        if (CEB && {CSB2, CSB1, CSB0} == 0)
            read <= write && write_addr[13:SHIFT] == read_addr[13:SHIFT]
                ? ~words[read_addr[13:SHIFT]] : words[read_addr[13:SHIFT]];
        if (OCEB) register <= 18'(read);
        if (RSTA || RSTB || WEB) $fatal(1, "DP16KD: no model of resets, nor of writes by port B");
    end
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1,
            DOB0} = register;
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
            || REG_INPUTA_CE != "CE0" || REG_INPUTB_CE != "CE1" || REG_OUTPUT_CE != "CE2" || GSR != "DISABLED")
            $fatal(1, "MULT18X18D: no model of this mode");
    end
    always @(posedge CLK0) begin
        if (CE0) a_register <= {SIGNEDA & a[17], a};
        if (CE1) b_register <= {SIGNEDB & b[17], b};
        if (CE2) product <= 36'($signed(a_register) * $signed(b_register));
        if (RST0 || RST1 || RST2 || RST3 || SOURCEA || SOURCEB) $fatal(1, "MULT18X18D: no model of this mode");
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
