// Cells of an iCE40 as nextpnr places them, in the modes in which it does; other modes end the simulation.
// After Lattice's iCE40 LP/HX and UltraPlus data sheets (programmable logic block).

// A logic cell: LUT, carry and flip-flop. Registers are zero when the chip starts.
module ICESTORM_LC #(
    parameter [15:0] LUT_INIT = 0,
    parameter [0:0] NEG_CLK = 0, CARRY_ENABLE = 0, DFF_ENABLE = 0, SET_NORESET = 0, ASYNC_SR = 0, CIN_CONST = 0, CIN_SET = 0
) (
    input I0, I1, I2, I3, CIN, CLK, CEN, SR,
    output LO, O, COUT
);
    initial if (NEG_CLK) $fatal(1, "ICESTORM_LC: no model of this mode");
    wire table_value;
    SB_LUT4 #(.LUT_INIT(LUT_INIT)) lut (.O(table_value), .I0(I0), .I1(I1), .I2(I2), .I3(I3));
    wire carry = CIN_CONST ? CIN_SET : CIN;
    assign LO = table_value;
    // Without its carry, a cell's output to the next one is not used; a wrong value shows if it is.
    assign COUT = CARRY_ENABLE ? I1 & I2 | (I1 | I2) & carry : ~carry;
    generate
        if (!DFF_ENABLE) begin : g_table
            assign O = table_value;
        end else if (ASYNC_SR) begin : g_asynchronous
            logic register = 0;
            always @(posedge CLK or posedge SR)
                if (SR) register <= SET_NORESET;
                else if (CEN) register <= table_value;
            assign O = register;
        end else begin : g_register
            logic register = 0;
            always @(posedge CLK) if (CEN) register <= SR ? SET_NORESET : table_value;
            assign O = register;
        end
    endgenerate
endmodule
